// Reads conversations in the shape of LoCoMo (Maharana et al., 2024): a list of samples, each with sessions of turns
// and labelled questions.
#pragma once

#include <annal/engine.h>

#include <functional>
#include <istream>
#include <string>
#include <vector>

namespace annal {

struct LocomoTurn {
    std::string id;  // "D3:14": session 3, turn 14.
    std::string speaker;
    std::string text;
    std::string caption;  // Of the picture that was shared with it; empty when none was.
};

struct LocomoSession {
    int number = 0;
    Timestamp time;
    std::vector<LocomoTurn> turns;
};

struct LocomoQuestion {
    std::string text;
    int category = 0;                   // 1 multi-hop, 2 temporal, 3 open-domain, 4 single-hop, 5 adversarial
    std::vector<std::string> evidence;  // Ids of turns that there are, each once.
};

struct LocomoConversation {
    std::string sample_id;
    std::vector<LocomoSession> sessions;  // By number.
    std::vector<LocomoQuestion> questions;
};

// invalid_argument: not that shape; the sample and the field are named.
Result<std::vector<LocomoConversation>> read_locomo(std::istream& in);

// "1:56 pm on 8 May, 2023", taken as UTC.
Result<Timestamp> parse_locomo_time(std::string_view text);

// One memory a turn, in order: spoken by its speaker, its source the message, agent the sample's id, session
// "<sample_id>/session_<N>", occurred_at the session's time and a second for each place, the caption as metadata.
std::vector<RecordRequest> memories_of(const LocomoConversation& conversation, const std::string& project);

}  // namespace annal
