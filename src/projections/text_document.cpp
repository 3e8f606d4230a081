#include "text_document.h"

#include "memory_event_generated.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>

namespace annal {
namespace {

using Terms = Analyzer::TermSink;

std::string_view view(const flatbuffers::String* text) {
    return text == nullptr ? std::string_view{} : std::string_view(text->c_str(), text->size());
}

TextSink& open(TextDocument& document, TextSection which, TextSink& terms) {
    document.given[static_cast<std::size_t>(which)] = true;
    terms.begin(which);
    return terms;
}

void clear(TextDocument& document) {
    document.given = {};
    document.spoken = false;
    document.questions = {};
    document.speaker_words.clear();
}

void read_content(const flatbuffers::String* content, Analyzer& analyzer, TextDocument& document, TextSink& terms) {
    analyzer.terms(view(content), open(document, TextSection::content, terms));
    document.questions = Analyzer::questions(view(content));
}

template <class Body>
void read_fields(const Body& body, Analyzer& analyzer, Terms& out) {
    const auto add = [&](auto... texts) { (analyzer.terms(view(texts), out), ...); };
    if (const auto* heuristic = body.fields_as_HeuristicFields()) {
        add(heuristic->condition(), heuristic->strategy());
    } else if (const auto* outcome = body.fields_as_OutcomeFields()) {
        add(outcome->task_type(), outcome->task_description(), outcome->strategy_used(), outcome->error_message(),
            outcome->user_feedback());
    } else if (const auto* preference = body.fields_as_PreferenceFields()) {
        add(preference->category());
    } else if (const auto* knowledge = body.fields_as_DomainKnowledgeFields()) {
        add(knowledge->domain());
    } else if (const auto* pattern = body.fields_as_AntiPatternFields()) {
        add(pattern->why_bad(), pattern->better_alternative());
    } else if (const auto* entity = body.fields_as_EntityFields()) {
        add(entity->name(), entity->entity_type());
    } else if (const auto* relation = body.fields_as_RelationFields()) {
        add(relation->source_id(), relation->target_id(), relation->relation_type());
    }
}

void read_tags(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* tags, Analyzer& analyzer,
               Terms& out) {
    if (tags == nullptr) return;
    for (const auto* tag : *tags)
        for (int twice = 0; twice < 2; ++twice) analyzer.terms(view(tag), out);
}

void read_metadata(std::string_view json, Analyzer& analyzer, Terms& out) {
    if (json.find("\"title\"") == json.npos && json.find("\"caption\"") == json.npos) return;
    const auto value =
        nlohmann::json::parse(json, nullptr, false);  // Checked when it was accepted; else it is discarded.
    const auto add = [&](const char* name, int times) {
        const auto found = value.is_object() ? value.find(name) : value.end();
        if (found == value.end() || !found->is_string()) return;
        for (; times > 0; --times) analyzer.terms(found->get_ref<const std::string&>(), out);
    };
    add("title", 2);
    add("caption", 1);
}

void read_date(Timestamp time, Analyzer& analyzer, Terms& out) {
    static constexpr std::array<const char*, 12> months{"January",   "February", "March",    "April",
                                                        "May",       "June",     "July",     "August",
                                                        "September", "October",  "November", "December"};
    const auto days = std::chrono::floor<std::chrono::days>(
        std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(time.us)));
    const std::chrono::year_month_day date(days);
    if (!date.ok()) return;  // Beyond the years that a calendar holds.
    const auto text = std::to_string(static_cast<unsigned>(date.day())) + ' ' +
                      months[static_cast<unsigned>(date.month()) - 1] + ' ' +
                      std::to_string(static_cast<int>(date.year()));
    analyzer.terms(text, out);
}

}  // namespace

void read_recorded(const EventView& event, Analyzer& analyzer, TextDocument& document, TextSink& terms) {
    clear(document);
    const auto& body = *event.table().body_as_MemoryRecorded();
    read_content(body.content(), analyzer, document, terms);
    read_fields(body, analyzer, open(document, TextSection::fields, terms));
    read_tags(body.tags(), analyzer, open(document, TextSection::tags, terms));
    read_metadata(view(body.metadata()), analyzer, open(document, TextSection::metadata, terms));
    document.spoken = event.source_type() == SourceType::message;
    auto& date = open(document, TextSection::date, terms);
    if (document.spoken) read_date(event.occurred_at(), analyzer, date);
    auto& speaker = open(document, TextSection::speaker, terms);
    if (!document.spoken) return;
    analyzer.terms(event.actor(), speaker);
    analyzer.words(event.actor(), document.speaker_words);
}

void read_revised(const EventView& event, bool spoken, Analyzer& analyzer, TextDocument& document, TextSink& terms) {
    clear(document);
    const auto& body = *event.table().body_as_MemoryRevised();
    document.spoken = spoken;
    if (body.content() != nullptr) read_content(body.content(), analyzer, document, terms);
    if (body.fields() != nullptr) read_fields(body, analyzer, open(document, TextSection::fields, terms));
    if (body.tags() != nullptr) read_tags(body.tags(), analyzer, open(document, TextSection::tags, terms));
    if (body.metadata() != nullptr)
        read_metadata(view(body.metadata()), analyzer, open(document, TextSection::metadata, terms));
    if (spoken && body.occurred_at())
        read_date(Timestamp{*body.occurred_at()}, analyzer, open(document, TextSection::date, terms));
}

namespace {

class Counter final : public Analyzer::TermSink {
 public:
    explicit Counter(MemoryText& text) : text_(text) {}
    void add(const Analyzer::Term& term) override {
        ++text_.terms[std::string(term.text)];
        ++text_.length;
    }

 private:
    MemoryText& text_;
};

}  // namespace

MemoryText text_of(const Memory& memory, Analyzer& analyzer) {
    MemoryText text;
    Counter terms(text);
    analyzer.terms(memory.content, terms);
    std::visit(
        [&](const auto& fields) {
            visit_fields(fields, [&](const char*, const auto& value) {
                if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, std::string>)
                    analyzer.terms(value, terms);
            });
        },
        memory.fields);
    for (const auto& tag : memory.tags)
        for (int twice = 0; twice < 2; ++twice) analyzer.terms(tag, terms);
    read_metadata(memory.metadata, analyzer, terms);
    if (memory.source.type == SourceType::message) {
        read_date(memory.occurred_at, analyzer, terms);
        analyzer.terms(memory.actor, terms);
    }
    const auto questions = Analyzer::questions(memory.content);
    text.asks = questions.asks;
    text.asked = in_255ths(questions.asked_share);
    return text;
}

std::uint8_t in_255ths(float share) {
    return static_cast<std::uint8_t>(std::lround(share * 255));
}

}  // namespace annal
