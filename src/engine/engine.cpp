#include "store_engine.h"

#include "signing_key.h"

#include "events/log_backup.h"
#include "projections/memory_view.h"
#include "projections/text_index.h"
#include "projections/vector_index.h"

#include <rocksdb/file_system.h>

namespace annal {
namespace {

std::string_view to_string(KeystoreState state) {
    switch (state) {
        case KeystoreState::off:
            return "off";
        case KeystoreState::locked:
            return "locked";
        case KeystoreState::unlocked:
            return "unlocked";
    }
    return "off";
}

}  // namespace

Error memory_not_found(const MemoryId& id) {
    return {ErrorCode::not_found, "there is no such memory in this scope", {{"memory_id", to_string(id)}}};
}

Error memory_forgotten(const Memory& memory) {
    return {ErrorCode::not_found, "the memory is forgotten; restore it first", {{"memory_id", to_string(memory.id)}}};
}

Result<std::optional<RootKey>> root_key_of(const EngineOptions& options) {
    std::optional<RootKey> none;
    if (options.root_key_file.empty() && options.root_key_variable.empty()) return none;
    auto key = options.root_key_file.empty() ? RootKey::from_environment(options.root_key_variable.c_str())
                                             : RootKey::read_file(options.root_key_file, options.directory);
    if (key) return std::optional(*std::move(key));
    const auto reason = key.error().details.find("reason");
    const bool unset = reason != key.error().details.end() && reason->second == "missing";
    if (options.root_key_file.empty() && unset) return none;
    return key.error();
}

Result<std::unique_ptr<Engine>> StoreEngine::open(EngineOptions options) {
    if (options.directory.empty())
        return Error{ErrorCode::invalid_argument, "directory is required", {{"field", "directory"}}};
    std::unique_ptr<StoreEngine> engine(new StoreEngine(std::move(options)));
    if (auto ok = engine->start(); !ok) return ok.error();
    return std::unique_ptr<Engine>(std::move(engine));
}

Status StoreEngine::start() {
    std::error_code failure;
    const auto directory = options_.directory;
    if (options_.create_if_missing) std::filesystem::create_directories(directory, failure);
    if (!std::filesystem::is_directory(directory, failure)) {
        if (options_.create_if_missing)
            return Error{ErrorCode::unavailable, "the store's directory cannot be made: " + failure.message(), {}};
        return Error{ErrorCode::not_found, "there is no store there", {}};
    }
    auto log = EventLog::open({.directory = directory / "log",
                               .create_if_missing = options_.create_if_missing,
                               .clock = &clock_,
                               .on_message = options_.on_message});
    if (!log) return log.error();
    log_ = std::move(*log);
    if (auto opened = open_keystore(); !opened) return opened;
    if (auto resumed = resume_erasures(); !resumed) return resumed;
    auto key = open_signing_key(directory / "keys" / "log_signing_key", "annal/" + log_->store_id());
    if (!key) return key.error();
    verifier_key_ = key->verifier().text();
    log_->sign_with(*std::move(key));
    auto views = ViewStore::open({.directory = directory / "views", .on_message = options_.on_message});
    if (!views) return views.error();
    views_ = std::move(*views);
    if (auto opened = open_embeddings(); !opened) return opened;
    const auto make_vectors = [this](const std::filesystem::path& files) {
        return VectorIndex::create(files, nullptr, options_.on_message);
    };
    std::vector<Projection> projections{{std::string(memory_view), [](const auto&) { return MemoryView::create(); }},
                                        {std::string(text_index), [](const auto&) { return TextIndex::create(); }},
                                        {std::string(vector_index), make_vectors},
                                        {std::string(recall_view), [](const auto&) { return RecallView::create(); }}};
    for (auto& each : embedding_projections()) projections.push_back(std::move(each));
    auto runtime = ProjectionRuntime::start(*log_, *views_, std::move(projections),
                                            {.clock = &clock_, .on_message = options_.on_message});
    if (!runtime) return runtime.error();
    runtime_ = std::move(*runtime);
    start_fillers();
    if (auto completed = complete_erasures(); !completed) return completed;
    auto scrubber = Scrubber::open(
        *log_, *views_,
        {.bytes_per_second = options_.scrub_bytes_per_second, .clock = &clock_, .on_message = options_.on_message});
    if (!scrubber) return scrubber.error();
    scrubber_ = std::move(*scrubber);
    scrubber_->start();
    return Done{};
}

Status StoreEngine::open_keystore() {
    auto root_key = root_key_of(options_);
    const auto known = log_->has_keystore();
    if (!known) return known.error();
    KeystoreOptions options{.files = *rocksdb::FileSystem::Default(), .directory = options_.directory / "keys"};
    options.store = log_->store_uuid();
    if (root_key) options.root_key = *std::move(root_key);
    options.create_if_missing = !*known;
    auto keystore = Keystore::open(std::move(options));
    if (!keystore && keystore.error().code != ErrorCode::not_found) return keystore.error();
    if (!keystore) return Error{ErrorCode::data_loss, keystore.error().message, {}};
    keystore_ = std::move(*keystore);
    // Whoever names a key means it: without a keystore that it could lock, all would be written in the clear.
    if (!root_key && keystore_->state() == KeystoreState::off && !*known) return root_key.error();
    sealing_reason_ = keystore_->state_reason();
    if (!root_key) sealing_reason_ = "the keystore is locked: " + root_key.error().message;
    if (options_.on_message && !sealing_reason_.empty())
        options_.on_message(locked() ? "warning" : "info", sealing_reason_);
    return log_->seal_with(*keystore_);
}

StoreEngine::~StoreEngine() {
    if (pid_ == getpid()) return;
    // In a forked child the threads to be joined do not exist, and the files are the parent's.
    static_cast<void>(scrubber_.release());
    for (auto& model : models_) static_cast<void>(model.filler.release());
    static_cast<void>(runtime_.release());
    static_cast<void>(embeddings_.release());
    static_cast<void>(views_.release());
    static_cast<void>(log_.release());
    static_cast<void>(keystore_.release());
}

Status StoreEngine::check_process() const {
    if (pid_ == getpid()) return Done{};
    return Error{
        ErrorCode::unavailable, "this process was forked from the one that opened the store; open after fork", {}};
}

Result<EngineStatus> StoreEngine::status(bool with_digests) {
    if (auto ok = check_process(); !ok) return ok.error();
    EngineStatus status;
    status.projections = runtime_->status();
    // What the log says is applied, and searched exactly, before its graph is built.
    status.embeddings = embedding_status();
    for (auto& projection : status.projections) {
        const auto model = std::ranges::find(status.embeddings, projection.name, &EmbeddingStatus::projection);
        const bool embeds = model != status.embeddings.end();
        if (projection.state != "running" || !(embeds || projection.name == vector_index)) continue;
        if (view<VectorIndex>(projection.name)->unlinked() > 0) projection.state = "linking";
        if (!embeds || projection.lag_events == 0) continue;
        projection.state = "embedding";
        if (projection.error.empty()) projection.error = model->error;
    }
    if (with_digests)
        for (auto& projection : status.projections) {
            auto digest = runtime_->digest(projection.name);
            if (!digest) return digest.error();
            projection.digest = std::move(*digest);
        }
    status.scrub = scrubber_->status();
    status.head_seq = log_->head();
    status.store_id = log_->store_id();
    status.epoch = log_->epoch();
    status.sealing = to_string(keystore_->state());
    status.sealing_reason = sealing_reason_;
    {
        const std::shared_lock hold(unfinished_mutex_);
        status.unfinished_erasures = unfinished_.size();
    }
    status.log_bytes = log_->bytes_on_disk();
    status.views_bytes = views_->bytes_on_disk();
    status.archive = log_->archived(true);
    auto counts = view<MemoryView>(memory_view)->reader()->counts({});
    if (!counts) return counts.error();
    status.counts = std::move(*counts);
    return status;
}

Result<std::unique_ptr<Engine>> Engine::open(EngineOptions options) {
    return StoreEngine::open(std::move(options));
}

Result<BackupInfo> restore_backup(const std::filesystem::path& backups, std::uint32_t id,
                                  const std::filesystem::path& target, const BackupProgress& progress) {
    std::error_code failure;
    if (std::filesystem::exists(target, failure) && !std::filesystem::is_empty(target, failure))
        return Error{ErrorCode::already_exists, "the directory to restore into is not empty", {{"field", "store"}}};
    return restore_backup(backups, id, target / "log", system_clock(), {}, progress);
}

}  // namespace annal
