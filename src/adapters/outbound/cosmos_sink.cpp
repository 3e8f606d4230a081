#include "cosmos_sink.h"

#include "adapters/json.h"
#include "adapters/sink_batch.h"
#include "adapters/sink_record.h"
#include "events/bytes.h"

#include "engine/uuid.h"
#include "events/base64.h"
#include "events/event_log_hash.h"
#include "events/hex.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

namespace annal {
namespace {

using Type = CosmosOperation::Type;

constexpr std::string_view sync_partition = "annal";
constexpr std::string_view position_id = "position";
constexpr std::string_view checkpoint_id = "annal-checkpoint";
constexpr std::size_t document_bytes_max = 1'900'000;  // Of 2 MiB: what is around it has room, in its batch too.
constexpr std::size_t marks_max = 10'000;
constexpr int tries_max = 8;  // Of what another owner may disturb.

// The position of the whole, or the checkpoint of a project.
struct Mark {
    std::optional<SinkPosition> position{};  // nullopt: nothing is there.
    bool unfinished = false;                 // On the way there, or to nothing.
    std::uint64_t fence = 0;
    std::string owner{};
    std::uint64_t write = 0;
    std::string etag{};  // Empty: there is no such document.
};

// Where a mark is.
struct Place {
    std::string container{};
    std::string partition{};
    std::string_view partition_field{};
    std::string_view id{};
};

Error damaged() {
    return {ErrorCode::data_loss, "what Cosmos DB holds is not what the sink wrote", {}};
}
Error ahead() {
    return {ErrorCode::unavailable, "a batch is on its way: there is no one position now", {}};
}

std::string text_of(const Place& place, const Mark& mark) {
    Json json{{"id", place.id},
              {std::string(place.partition_field), place.partition},
              {"type", place.id == position_id ? "position" : "checkpoint"},
              {"position", nullptr},
              {"unfinished", mark.unfinished},
              {"fence", mark.fence},
              {"owner", mark.owner},
              {"write", mark.write}};
    if (mark.position)
        json["position"] = {{"store_id", mark.position->store_id},
                            {"epoch", mark.position->epoch},
                            {"seq", mark.position->seq.value},
                            {"hash", to_base64(as_text(mark.position->hash))}};
    return to_text(json);
}

Result<Mark> mark_from(const Json& json, std::string etag) {
    try {
        Mark mark;
        mark.unfinished = json.at("unfinished").get<bool>();
        mark.fence = json.at("fence").get<std::uint64_t>();
        mark.owner = json.at("owner").get<std::string>();
        mark.write = json.at("write").get<std::uint64_t>();
        mark.etag = std::move(etag);
        const auto& there = json.at("position");
        if (there.is_null()) return mark;
        auto& position = mark.position.emplace();
        position.store_id = there.at("store_id").get<std::string>();
        position.epoch = there.at("epoch").get<std::uint64_t>();
        position.seq = Seq{there.at("seq").get<std::uint64_t>()};
        const auto hash = from_base64(there.at("hash").get<std::string>());
        if (!hash || hash->size() != position.hash.size()) return damaged();
        std::ranges::copy(*hash, reinterpret_cast<char*>(position.hash.data()));
        return mark;
    } catch (const Json::exception&) {
        return damaged();
    }
}

// Cosmos DB's numbers are doubles.
bool is_exact(const Json& json) {
    constexpr double limit = 9007199254740992.0;
    for (const auto& part : json)
        if (json.is_structured() && !is_exact(part)) return false;
    return !json.is_number_integer() || std::abs(json.get<double>()) < limit;
}

std::string head_of(std::string_view id, std::string_view project, std::string_view type) {
    const Json json{{"id", id}, {"project", project}, {"type", type}};
    auto text = to_text(json);
    text.pop_back();
    return text;
}

std::string text_of(const SinkRecord& record) {
    const auto line = to_line(record);
    auto text = head_of(to_string(record.memory.id), record.memory.scope.project, "memory");
    text.append(",\"memory\":").append(line);
    if (!is_exact(to_json(record.memory))) text.append(",\"exact\":").append(to_text(line));
    return text += '}';
}

std::string text_of(const DeadLetter& letter) {
    const Json rest{{"kind", to_string(letter.kind)},
                    {"seq", letter.seq.value},
                    {"reason", letter.reason},
                    {"user", letter.user},
                    {"created_seq", letter.created_seq.value}};
    return head_of(to_string(letter.memory_id), letter.project, "dead_letter") + "," + to_text(rest).substr(1);
}

Result<SinkRecord> record_from(const Json& document) {
    if (const auto exact = document.find("exact"); exact != document.end() && exact->is_string()) {
        const auto json = parse_json(exact->get_ref<const std::string&>(), "the document");
        if (!json) return damaged();
        return sink_record_from_json(*json);
    }
    const auto memory = document.find("memory");
    if (memory == document.end()) return damaged();
    return sink_record_from_json(*memory);
}

Result<DeadLetter> dead_letter_from(const Json& document) {
    try {
        const auto kind = parse_kind(document.at("kind").get<std::string>());
        const auto id = parse_memory_id(document.at("id").get<std::string>());
        if (!kind || !id) return damaged();
        DeadLetter letter;
        letter.project = document.at("project").get<std::string>();
        letter.kind = *kind;
        letter.memory_id = *id;
        letter.seq = Seq{document.at("seq").get<std::uint64_t>()};
        letter.reason = document.at("reason").get<std::string>();
        letter.user = document.at("user").get<std::string>();
        letter.created_seq = Seq{document.at("created_seq").get<std::uint64_t>()};
        return letter;
    } catch (const Json::exception&) {
        return damaged();
    }
}

// What a batch does to one project.
struct Work {
    std::vector<const SinkErasure*> erasures{};
    std::vector<const SinkRemoval*> removals{};
    std::vector<const SinkRecord*> upserts{};
    std::vector<const DeadLetter*> dead_letters{};
};

std::map<std::string, Work> by_project(const SinkBatch& batch) {
    std::map<std::string, Work> works;
    for (const auto& one : batch.erasures) works[one.project].erasures.push_back(&one);
    for (const auto& one : batch.removals) works[one.project].removals.push_back(&one);
    for (const auto& one : batch.upserts) works[one.memory.scope.project].upserts.push_back(&one);
    for (const auto& one : batch.dead_letters) works[one.project].dead_letters.push_back(&one);
    return works;
}

class CosmosSink final : public Sink {
 public:
    CosmosSink(CosmosSinkOptions options, std::unique_ptr<CosmosClient> client)
        : memories_(options.container_prefix + "memories"),
          sync_(options.container_prefix + "sync"),
          vector_dimension_(options.vector_dimension),
          client_(std::move(client)),
          owner_(to_string(make_uuid_v7(system_clock().now()))) {}

    std::string_view type() const override { return "cosmos"; }
    SinkCapabilities capabilities() const override { return {}; }
    std::optional<std::string> refuses(const SinkRecord& record) const override {
        if (text_of(record).size() <= document_bytes_max) return std::nullopt;
        return "its document is larger than " + std::to_string(document_bytes_max) + " bytes";
    }

    Result<std::optional<SinkPosition>> take_over(std::string_view store_id) override;
    Status apply(const SinkBatch& batch) override;
    SinkUsage usage() const override {
        const auto counts = client_->counts();
        return {counts.bytes_sent, counts.repeats, counts.throttles, client_->request_units()};
    }
    Status clear() override;
    Result<std::unique_ptr<SinkWalk>> walk() override;

 private:
    Place whole() const { return {sync_, std::string(sync_partition), "partition", position_id}; }
    Place part(const std::string& project) const { return {memories_, project, "project", checkpoint_id}; }

    // A mark without an ETag: there is none.
    Result<Mark> read(const Place& place) {
        const auto document = client_->read(place.container, place.partition, place.id);
        if (!document) return document.error();
        if (!*document) return Mark{};
        return mark_from(*(*document)->body, (*document)->etag);
    }

    // Writes the operations and the mark in one, if the mark is still as `known` says, which it says again afterwards.
    // fenced: it is not.
    Status write(const Place& place, Mark& known, const Mark& next, std::vector<CosmosOperation> operations = {}) {
        Mark ours = next;
        ours.owner = owner_;
        ours.fence = fence_;
        ours.write = known.write + 1;
        operations.push_back({known.etag.empty() ? Type::create : Type::replace, std::string(place.id), known.etag,
                              text_of(place, ours)});
        auto written = client_->batch(place.container, place.partition, operations);
        if (written) {
            ours.etag = written->back();
            known = std::move(ours);
            return Done{};
        }
        if (written.error().code != ErrorCode::conflict && written.error().code != ErrorCode::not_found)
            return written.error();
        // Somebody else was there. Or ourselves: the answer of the first time may have been lost.
        auto there = read(place);
        if (!there) return there.error();
        if (there->etag.empty() || there->owner != owner_) return fenced_error();
        if (there->write != ours.write) return ahead();
        known = std::move(*there);
        return Done{};
    }

    // After an error nothing is known of what is there.
    Status forgetting(Status status) {
        if (status) return status;
        position_.reset();
        marks_.clear();
        // A project's mark may be another's still who was fenced himself.
        if (status.error().details.contains("fenced") && reload()) return ahead();
        return status;
    }

    // What the position says now; fenced: it is another's.
    Status reload() {
        auto there = read(whole());
        if (!there) return there.error();
        if (fence_ == 0 || there->owner != owner_) return fenced_error();
        position_ = std::move(*there);
        return Done{};
    }

    Result<std::vector<std::string>> projects() {
        const auto found =
            client_->query(sync_, sync_partition, {"SELECT * FROM c WHERE c.type = @type", {{"@type", "\"project\""}}});
        if (!found) return found.error();
        std::vector<std::string> names;
        for (const auto& document : *found) {
            const auto name = document->find("project");
            if (name == document->end() || !name->is_string()) return damaged();
            names.push_back(name->get<std::string>());
        }
        std::ranges::sort(names);
        return names;
    }

    static std::string id_of_project(const std::string& project) { return to_hex(sha256(project)); }

    Status fence(const std::string& project);
    Status put_down(const std::map<std::string, Work>& works);
    Status write_project(const std::string& project, const Work& work, const SinkBatch& batch);
    Result<std::vector<CosmosOperation>> operations_of(const std::string& project, const Work& work);
    Status write_in_parts(const Place& place, Mark& known, const Mark& next, std::vector<CosmosOperation> operations);
    Result<std::vector<std::string>> ids(const std::string& project, CosmosClient::Query query);
    Status finish_clearing();
    Status clear_project(const std::string& project);
    Result<std::unique_ptr<SinkWalk>> try_walk();

    const std::string memories_;
    const std::string sync_;
    const std::size_t vector_dimension_;
    const std::unique_ptr<CosmosClient> client_;
    const std::string owner_;            // Nobody else's, not of this process either.
    std::uint64_t fence_ = 0;            // 0: not taken over yet.
    std::optional<Mark> position_{};     // As it is there; nullopt: it has to be read.
    std::map<std::string, Mark> marks_;  // Of projects, as they are there.
    std::set<std::string> put_down_;     // Projects.
};

Result<std::optional<SinkPosition>> CosmosSink::take_over(std::string_view store_id) {
    if (auto made = client_->make_database(); !made) return made.error();
    if (auto made = client_->make_container({.name = memories_,
                                             .partition_path = "/project",
                                             .vector_path = vector_dimension_ == 0 ? "" : "/memory/embedding/values",
                                             .vector_dimension = vector_dimension_});
        !made)
        return made.error();
    if (auto made = client_->make_container({.name = sync_, .partition_path = "/partition"}); !made)
        return made.error();
    position_.reset();
    marks_.clear();
    put_down_.clear();
    for (int tries = 1;; ++tries) {
        auto there = read(whole());
        if (!there) return there.error();
        if (auto ours = check_is_of(there->position, store_id); !ours) return ours.error();
        fence_ = there->fence + 1;
        Mark known = *there;
        auto written = write(whole(), known, *there);
        if (written) {
            position_ = std::move(known);
            break;
        }
        if (written.error().code != ErrorCode::conflict || tries == tries_max) return written.error();
    }
    const auto there = projects();
    if (!there) return there.error();
    for (const auto& project : *there) {
        if (auto fenced = fence(project); !fenced) return fenced.error();
        put_down_.insert(project);
    }
    return position_->position;
}

// Whoever owned the project's checkpoint cannot write there any more.
Status CosmosSink::fence(const std::string& project) {
    for (int tries = 1;; ++tries) {
        auto there = read(part(project));
        if (!there) return there.error();
        if (there->etag.empty()) return Done{};
        const Mark as_it_is = *there;
        auto written = write(part(project), *there, as_it_is);
        if (written || written.error().code != ErrorCode::conflict || tries == tries_max) return written;
    }
}

Status CosmosSink::apply(const SinkBatch& batch) {
    if (!position_)
        if (auto read = reload(); !read) return read;
    if (auto fits = check_starts_at(batch, position_->position); !fits) {
        if (auto read = reload(); !read) return read;  // Fenced, perhaps.
        return fits;
    }
    if (position_->unfinished)
        if (auto cleared = finish_clearing(); !cleared) return forgetting(std::move(cleared));
    const auto works = by_project(batch);
    if (auto done = put_down(works); !done) return forgetting(std::move(done));
    for (const auto& [project, work] : works)
        if (auto done = write_project(project, work, batch); !done) return forgetting(std::move(done));
    Mark next = *position_;
    next.position = batch.to;
    return forgetting(write(whole(), *position_, next));
}

Status CosmosSink::put_down(const std::map<std::string, Work>& works) {
    std::vector<CosmosOperation> operations;
    for (const auto& [project, work] : works) {
        if (put_down_.contains(project)) continue;
        const auto id = id_of_project(project);
        const Json document{{"id", id}, {"partition", sync_partition}, {"type", "project"}, {"project", project}};
        operations.push_back({Type::upsert, id, {}, to_text(document)});
    }
    if (operations.empty()) return Done{};
    const Mark as_it_is = *position_;
    if (auto done = write_in_parts(whole(), *position_, as_it_is, std::move(operations)); !done) return done;
    for (const auto& [project, work] : works) put_down_.insert(project);
    return Done{};
}

// As many batches as it takes, each with the mark: unfinished but in the last, when the mark moves.
Status CosmosSink::write_in_parts(const Place& place, Mark& known, const Mark& next,
                                  std::vector<CosmosOperation> operations) {
    constexpr std::size_t around = 200;  // An operation's other fields.
    Mark on_the_way = next;
    on_the_way.unfinished = next.unfinished || next.position != known.position;
    const auto mark_bytes = text_of(place, next).size() + 4096;
    std::vector<CosmosOperation> part;
    std::size_t bytes = mark_bytes;
    for (auto& operation : operations) {
        const auto size = operation.body.size() + operation.id.size() + around;
        if (part.size() + 1 == CosmosClient::operations_max || bytes + size > CosmosClient::request_bytes_max) {
            if (auto written = write(place, known, on_the_way, std::exchange(part, {})); !written) return written;
            bytes = mark_bytes;
        }
        bytes += size;
        part.push_back(std::move(operation));
    }
    return write(place, known, next, std::move(part));
}

Result<std::vector<std::string>> CosmosSink::ids(const std::string& project, CosmosClient::Query query) {
    const auto found = client_->query(memories_, project, query);
    if (!found) return found.error();
    std::vector<std::string> all;
    for (const auto& document : *found) {
        const auto id = document->find("id");
        if (id == document->end() || !id->is_string()) return damaged();
        all.push_back(id->get<std::string>());
    }
    return all;
}

// Removes what is there alone: a batch fails of a removal of nothing.
Result<std::vector<CosmosOperation>> CosmosSink::operations_of(const std::string& project, const Work& work) {
    std::set<std::string> gone;
    for (const auto* erasure : work.erasures)
        for (const auto* whose : {"c.memory.scope.user = @user AND c.memory.created_seq < @seq",
                                  "c.user = @user AND c.created_seq < @seq"}) {  // Dead letters.
            auto found = ids(
                project, {std::string("SELECT c.id FROM c WHERE ") + whose,
                          {{"@user", to_text(erasure->user)}, {"@seq", std::to_string(erasure->requested_at.value)}}});
            if (!found) return found.error();
            gone.insert(found->begin(), found->end());
        }
    if (!work.removals.empty()) {
        Json wanted = Json::array();
        for (const auto* removal : work.removals) wanted.push_back(to_string(removal->memory_id));
        auto found = ids(project, {"SELECT c.id FROM c WHERE ARRAY_CONTAINS(@ids, c.id)", {{"@ids", to_text(wanted)}}});
        if (!found) return found.error();
        gone.insert(found->begin(), found->end());
    }
    std::vector<CosmosOperation> operations;
    for (const auto* record : work.upserts)
        operations.push_back({Type::upsert, to_string(record->memory.id), {}, text_of(*record)});
    for (const auto* letter : work.dead_letters)
        operations.push_back({Type::upsert, to_string(letter->memory_id), {}, text_of(*letter)});
    for (const auto& operation : operations) gone.erase(operation.id);
    for (const auto& id : gone) operations.push_back({Type::remove, id, {}, {}});
    return operations;
}

Status CosmosSink::write_project(const std::string& project, const Work& work, const SinkBatch& batch) {
    if (marks_.size() >= marks_max) marks_.clear();
    auto mark = marks_.find(project);
    if (mark == marks_.end()) {
        auto there = read(part(project));
        if (!there) return there.error();
        mark = marks_.emplace(project, std::move(*there)).first;
    }
    Mark& known = mark->second;
    if (known.position && known.position->seq > batch.from.seq) {
        const auto& reached = *known.position;
        if (reached.epoch != batch.to.epoch || (reached.seq == batch.to.seq && reached != batch.to))
            return Error{ErrorCode::conflict,
                         "a project of the sink is ahead on another log's way",
                         {{"position", std::to_string(reached.seq.value)}}};
        if (!known.unfinished && reached.seq >= batch.to.seq) return Done{};
    }
    auto operations = operations_of(project, work);
    if (!operations) return operations.error();
    Mark next = known;
    next.position = batch.to;
    next.unfinished = false;
    return write_in_parts(part(project), known, next, std::move(*operations));
}

Status CosmosSink::clear() {
    if (auto read = reload(); !read) return read;
    Mark nothing = *position_;
    nothing.position.reset();
    nothing.unfinished = true;  // Until all is gone: no batch is written before.
    auto written = write(whole(), *position_, nothing);
    if (written) written = finish_clearing();
    return forgetting(std::move(written));
}

Status CosmosSink::finish_clearing() {
    const auto there = projects();
    if (!there) return there.error();
    std::vector<CosmosOperation> operations;
    for (const auto& project : *there) {
        if (auto cleared = clear_project(project); !cleared) return cleared;
        operations.push_back({Type::remove, id_of_project(project), {}, {}});
    }
    marks_.clear();
    put_down_.clear();
    Mark cleared = *position_;
    cleared.unfinished = false;
    return write_in_parts(whole(), *position_, cleared, std::move(operations));
}

Status CosmosSink::clear_project(const std::string& project) {
    auto known = read(part(project));
    if (!known) return known.error();
    if (known->etag.empty()) return Done{};  // Nothing is there without it.
    auto there = ids(project, {"SELECT c.id FROM c", {}});
    if (!there) return there.error();
    std::vector<CosmosOperation> operations;
    for (auto& id : *there)
        if (id != checkpoint_id) operations.push_back({Type::remove, std::move(id), {}, {}});
    Mark going = *known;
    going.unfinished = true;
    if (auto written = write_in_parts(part(project), *known, going, std::move(operations)); !written) return written;
    const std::vector<CosmosOperation> last{{Type::remove, std::string(checkpoint_id), known->etag, {}}};
    const auto removed = client_->batch(memories_, project, last);
    if (removed || removed.error().code == ErrorCode::not_found) return Done{};
    return removed.error().code == ErrorCode::conflict ? fenced_error() : removed.error();
}

Result<std::unique_ptr<SinkWalk>> CosmosSink::walk() {
    for (int tries = 1;; ++tries) {
        auto walked = try_walk();
        if (walked || walked.error().code != ErrorCode::unavailable || tries == tries_max) return walked;
    }
}

// unavailable: something changed while it read.
Result<std::unique_ptr<SinkWalk>> CosmosSink::try_walk() {
    const auto before = read(whole());
    if (!before) return before.error();
    if (!before->position) return Error{ErrorCode::not_found, "nothing is there", {}};
    const auto names = projects();
    if (!names) return names.error();
    std::vector<SinkRecord> records;
    std::vector<DeadLetter> dead_letters;
    for (const auto& project : *names) {
        const auto mark = read(part(project));
        if (!mark) return mark.error();
        if (mark->etag.empty()) continue;
        if (mark->unfinished || !mark->position || mark->position->seq > before->position->seq) return ahead();
        const auto documents = client_->query(memories_, project, {"SELECT * FROM c ORDER BY c.id", {}});
        if (!documents) return documents.error();
        for (const auto& document : *documents) {
            const auto type = document->value("type", "");
            if (type == "memory") {
                auto record = record_from(*document);
                if (!record) return damaged();
                records.push_back(std::move(*record));
            } else if (type == "dead_letter") {
                auto letter = dead_letter_from(*document);
                if (!letter) return letter.error();
                dead_letters.push_back(std::move(*letter));
            }
        }
        const auto still = read(part(project));
        if (!still) return still.error();
        if (still->etag != mark->etag) return ahead();
    }
    const auto after = read(whole());
    if (!after) return after.error();
    if (after->etag != before->etag) return ahead();
    return walk_of(*before->position, std::move(records), std::move(dead_letters));
}

}  // namespace

Result<std::unique_ptr<Sink>> make_cosmos_sink(CosmosSinkOptions options) {
    auto client = CosmosClient::create(options.account);
    if (!client) return client.error();
    return std::unique_ptr<Sink>(std::make_unique<CosmosSink>(std::move(options), std::move(*client)));
}

}  // namespace annal
