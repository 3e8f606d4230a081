#include "locomo.h"

#include "json.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <iterator>
#include <set>

namespace annal {
namespace {

constexpr std::size_t file_bytes_max = std::size_t{512} << 20;
constexpr std::int64_t us_per_second = 1'000'000;

Error refuse_at(const std::string& where, const std::string& message) {
    return {ErrorCode::invalid_argument, where + " " + message, {{"field", where}}};
}

const std::string& text_of(const Json& json, const char* name) {
    static const std::string none;
    const auto at = json.find(name);
    return at != json.end() && at->is_string() ? at->get_ref<const std::string&>() : none;
}

// Every "D<n>:<m>" in a text: some labels hold several, or marks around them.
void find_turn_ids(std::string_view text, std::vector<std::string>& out) {
    const auto digits = [&](std::size_t at) {
        std::size_t end = at;
        while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
        return end;
    };
    for (std::size_t at = text.find('D'); at != std::string_view::npos; at = text.find('D', at + 1)) {
        const std::size_t colon = digits(at + 1);
        if (colon == at + 1 || colon >= text.size() || text[colon] != ':') continue;
        const std::size_t end = digits(colon + 1);
        if (end != colon + 1) out.emplace_back(text.substr(at, end - at));
    }
}

Result<LocomoSession> read_session(const Json& conversation, const std::string& where, int number) {
    LocomoSession session;
    session.number = number;
    const std::string name = "session_" + std::to_string(number);
    auto time = parse_locomo_time(text_of(conversation, (name + "_date_time").c_str()));
    if (!time) return refuse_at(where + "." + name + "_date_time", time.error().message);
    session.time = *time;
    for (const auto& turn : conversation[name]) {
        LocomoTurn read;
        if (turn.is_object())
            read = {text_of(turn, "dia_id"), text_of(turn, "speaker"), text_of(turn, "text"),
                    text_of(turn, "blip_caption")};
        if (read.id.empty() || read.speaker.empty() || (read.text.empty() && read.caption.empty()))
            return refuse_at(where + "." + name, "has a turn without dia_id, speaker or text");
        session.turns.push_back(std::move(read));
    }
    return session;
}

Result<std::vector<LocomoQuestion>> read_questions(const Json& list, const std::string& where,
                                                   const std::set<std::string>& turns) {
    std::vector<LocomoQuestion> questions;
    for (const auto& item : list) {
        LocomoQuestion question;
        if (item.is_object()) {
            question.text = text_of(item, "question");
            const auto category = item.find("category");
            if (category != item.end() && category->is_number_integer()) question.category = category->get<int>();
        }
        if (question.text.empty() || question.category < 1 || question.category > 5)
            return refuse_at(where + ".qa", "has a question without text, or of no category from 1 to 5");
        std::vector<std::string> named;
        if (const auto evidence = item.find("evidence"); evidence != item.end() && evidence->is_array())
            for (const auto& label : *evidence)
                if (label.is_string()) find_turn_ids(label.get_ref<const std::string&>(), named);
        for (auto& id : named)
            if (turns.contains(id) && std::ranges::find(question.evidence, id) == question.evidence.end())
                question.evidence.push_back(std::move(id));
        questions.push_back(std::move(question));
    }
    return questions;
}

Result<LocomoConversation> read_sample(const Json& sample, std::size_t index) {
    const std::string where = "sample " + std::to_string(index + 1);
    if (!sample.is_object()) return refuse_at(where, "must be an object");
    LocomoConversation result;
    result.sample_id = text_of(sample, "sample_id");
    const auto conversation = sample.find("conversation");
    if (result.sample_id.empty()) return refuse_at(where + ".sample_id", "is required");
    if (conversation == sample.end() || !conversation->is_object())
        return refuse_at(where + ".conversation", "must be an object");

    std::set<std::string> turns;
    for (const auto& [name, value] : conversation->items()) {
        int number = 0;
        const std::string_view digits = std::string_view(name).substr(std::min<std::size_t>(8, name.size()));
        const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        const bool is_session = name.starts_with("session_") && parsed.ec == std::errc() &&
                                parsed.ptr == digits.data() + digits.size() && value.is_array();
        if (!is_session) continue;
        auto session = read_session(*conversation, where + ".conversation", number);
        if (!session) return session.error();
        for (const auto& turn : session->turns) turns.insert(turn.id);
        result.sessions.push_back(std::move(*session));
    }
    std::ranges::sort(result.sessions, {}, &LocomoSession::number);

    if (const auto list = sample.find("qa"); list != sample.end()) {
        if (!list->is_array()) return refuse_at(where + ".qa", "must be a list");
        auto questions = read_questions(*list, where, turns);
        if (!questions) return questions.error();
        result.questions = std::move(*questions);
    }
    return result;
}

}  // namespace

Result<Timestamp> parse_locomo_time(std::string_view text) {
    static constexpr std::array<std::string_view, 12> months{"january",   "february", "march",    "april",
                                                             "may",       "june",     "july",     "august",
                                                             "september", "october",  "november", "december"};
    // Words and numbers; all else only parts them.
    std::vector<std::string> parts;
    bool open = false;
    for (const char c : text) {
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) {
            open = false;
            continue;
        }
        if (!open) parts.emplace_back();
        open = true;
        parts.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    const Error wrong{ErrorCode::invalid_argument, "must be a time such as '1:56 pm on 8 May, 2023'", {}};
    if (parts.size() != 7 || parts[3] != "on") return wrong;
    const auto number = [&](std::size_t part, int from, int to) -> std::optional<int> {
        int value = 0;
        const auto& digits = parts[part];
        const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() || value < from || value > to)
            return std::nullopt;
        return value;
    };
    const auto hour = number(0, 1, 12), minute = number(1, 0, 59), day = number(4, 1, 31), year = number(6, 1970, 9999);
    const auto month = std::ranges::find(months, parts[5]);
    const bool pm = parts[2] == "pm";
    if (!hour || !minute || !day || !year || month == months.end() || (!pm && parts[2] != "am")) return wrong;
    using namespace std::chrono;
    const year_month_day date{std::chrono::year{*year},
                              std::chrono::month{static_cast<unsigned>(month - months.begin()) + 1},
                              std::chrono::day{static_cast<unsigned>(*day)}};
    if (!date.ok()) return wrong;
    const auto at = sys_days{date} + hours{*hour % 12 + (pm ? 12 : 0)} + minutes{*minute};
    return Timestamp{duration_cast<microseconds>(at.time_since_epoch()).count()};
}

Result<std::vector<LocomoConversation>> read_locomo(std::istream& in) {
    std::string text;
    std::string block(std::size_t{1} << 16, '\0');
    while (in.read(block.data(), static_cast<std::streamsize>(block.size())), in.gcount() > 0) {
        text.append(block.data(), static_cast<std::size_t>(in.gcount()));
        if (text.size() > file_bytes_max)
            return refuse_at("the file", "is larger than " + std::to_string(file_bytes_max) + " bytes");
    }
    if (in.bad()) return Error{ErrorCode::unavailable, "the file cannot be read to its end", {}};
    auto json = parse_json(text, "the file");
    if (!json) return json.error();
    if (!json->is_array()) return refuse_at("the file", "must be a list of samples");
    std::vector<LocomoConversation> conversations;
    for (const auto& sample : *json) {
        auto conversation = read_sample(sample, conversations.size());
        if (!conversation) return conversation.error();
        conversations.push_back(std::move(*conversation));
    }
    return conversations;
}

std::vector<RecordRequest> memories_of(const LocomoConversation& conversation, const std::string& project) {
    std::vector<RecordRequest> memories;
    for (const auto& session : conversation.sessions) {
        std::int64_t position = 0;
        for (const auto& turn : session.turns) {
            RecordRequest memory;
            memory.scope = {.project = project,
                            .agent = conversation.sample_id,
                            .user = {},
                            .session = conversation.sample_id + "/session_" + std::to_string(session.number)};
            memory.content = turn.text.empty() ? turn.caption : turn.text;
            if (!turn.caption.empty()) memory.metadata = to_text({{"caption", turn.caption}});
            memory.occurred_at = Timestamp{session.time.us + position++ * us_per_second};
            memory.context.actor = turn.speaker;
            memory.context.source = {SourceType::message, turn.id};
            memories.push_back(std::move(memory));
        }
    }
    return memories;
}

}  // namespace annal
