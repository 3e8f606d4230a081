// Two short conversations in the shape of LoCoMo, written for these tests.
#pragma once

namespace annal::testing {

inline constexpr const char* locomo_sample = R"([
{"sample_id": "conv-1",
 "conversation": {
  "speaker_a": "Ines", "speaker_b": "Tom",
  "session_10_date_time": "8:00 am on 1 May, 2024",
  "session_10": [{"speaker": "Tom", "dia_id": "D10:1", "text": "The marathon is on Sunday."}],
  "session_1_date_time": "9:05 pm on 2 March, 2024",
  "session_1": [
   {"speaker": "Tom", "dia_id": "D1:1", "text": "What is new?"},
   {"speaker": "Ines", "dia_id": "D1:2", "text": "I adopted a greyhound called Comet.", "blip_caption": "a grey dog on a sofa",
    "img_url": ["x"]},
   {"speaker": "Tom", "dia_id": "D1:3", "text": "I paint harbours in oil."}],
  "session_2_date_time": "7:30 pm on 9 March, 2024",
  "session_2": [{"speaker": "Tom", "dia_id": "D2:1", "text": "The harbour paintings hang in a cafe."}],
  "session_3_date_time": "7:30 pm on 16 March, 2024"},
 "qa": [
  {"question": "greyhound Comet", "answer": "a dog", "evidence": ["D1:2"], "category": 4},
  {"question": "harbour oil", "answer": "oil", "evidence": ["D1:3; D2:1, D1:3", "D9:9"], "category": 1},
  {"question": "nothing", "answer": 3, "evidence": ["D:11", "D"], "category": 2},
  {"question": "marathon", "adversarial_answer": "x", "evidence": ["D1:1"], "category": 5}]},
{"sample_id": "conv-2",
 "conversation": {
  "session_1_date_time": "10:00 am on 3 April, 2024",
  "session_1": [{"speaker": "Ola", "dia_id": "D1:1", "text": "A greyhound called Comet won."},
                {"speaker": "Ola", "dia_id": "D1:2", "text": "Rain all week."}]},
 "qa": [{"question": "snow", "answer": "no", "evidence": ["D1:2"], "category": 4}]}
])";

}  // namespace annal::testing
