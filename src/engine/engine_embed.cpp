#include "store_engine.h"

#include "projections/memory_view.h"
#include "projections/vector_index.h"

#include <algorithm>
#include <set>

namespace annal {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::string_view embeddings_folder = "embeddings";
constexpr std::string_view embedded_prefix = "embedded-";
// A search that is to see the newest waits for no longer way than this: it answers without what is missing.
constexpr std::uint64_t events_waited_for_max = 1'024;

}  // namespace

Status StoreEngine::open_embeddings() {
    std::vector<std::shared_ptr<Embedder>> given;
    if (options_.embedder != nullptr) given.push_back(options_.embedder);
    for (const auto& each : options_.other_embedders)
        if (each != nullptr) given.push_back(each);
    std::set<std::string_view> names;
    for (const auto& each : given)
        if (!names.insert(each->model()).second)
            return Error{ErrorCode::invalid_argument, "two embedders of one model", {{"field", "embedder"}}};
    active_ = options_.embedder;
    const auto directory = options_.directory / embeddings_folder;
    std::error_code failed;
    if (given.empty() && !std::filesystem::exists(directory, failed)) {
        remove_indexes_without_model();
        return Done{};
    }
    auto opened = EmbeddingStore::open(directory, *keystore_, options_.on_message);
    if (!opened) return opened.error();
    embeddings_ = std::move(*opened);
    for (const auto& each : given)
        if (auto made = embeddings_->model(each->model(), each->dimension()); !made) return made.error();
    for (const auto& vectors : embeddings_->models()) {
        const auto its = std::ranges::find_if(given, [&](const auto& each) {
            return each->model() == vectors->model() && each->dimension() == vectors->dimension();
        });
        models_.push_back({its == given.end() ? nullptr : *its, vectors, nullptr});
    }
    remove_indexes_without_model();
    return Done{};
}

// What is left of a model that was dropped.
void StoreEngine::remove_indexes_without_model() const {
    std::set<std::string> names;
    for (auto& name : views_->spaces()) names.insert(std::move(name));
    std::error_code failed;
    for (std::filesystem::directory_iterator at(views_->directory(), failed), end; !failed && at != end;
         at.increment(failed))
        names.insert(at->path().filename().string());
    for (const auto& name : names) {
        const bool known = std::ranges::any_of(
            models_, [&](const Model& model) { return name.starts_with(model.vectors->projection()); });
        if (known || !name.starts_with(embedded_prefix)) continue;
        const auto dropped = views_->drop(name);
        std::filesystem::remove_all(views_->directory() / name, failed);
        if ((!dropped || failed) && options_.on_message)
            options_.on_message("warning", "the index of a model that was dropped could not be removed");
    }
}

std::vector<Projection> StoreEngine::embedding_projections() const {
    std::vector<Projection> all;
    for (const auto& model : models_)
        all.push_back({std::string(model.vectors->projection()),
                       [vectors = model.vectors, this](const std::filesystem::path& files) {
                           return VectorIndex::create(files, vectors, options_.on_message);
                       }});
    return all;
}

void StoreEngine::start_fillers() {
    for (auto& model : models_) {
        const auto name = model.vectors->projection();
        // What the index has applied was there; unless it was lost since.
        if (!embeddings_->made_anew()) model.vectors->set_up_to(runtime_->applied(name));
        EmbeddingFillerOptions options;
        options.retry_max = options_.embed_retry_max;
        options.locked = locked();
        options.writes = &writes_mutex_;
        options.on_progress = [this, name] { runtime_->wake(name); };
        options.on_message = options_.on_message;
        model.filler = std::make_unique<EmbeddingFiller>(
            *log_, *model.vectors, options_.embed_in_background ? model.embedder : nullptr, std::move(options));
        model.filler->start();
    }
}

const StoreEngine::Model* StoreEngine::model_of(std::string_view name) const {
    const Model* found = nullptr;  // Of two that differ in dimension alone, the one that can be asked.
    for (const auto& model : models_)
        if (model.vectors->model() == name && (found == nullptr || model.embedder != nullptr)) found = &model;
    return found;
}

std::shared_ptr<Embedder> StoreEngine::active_embedder() const {
    const std::lock_guard lock(active_mutex_);
    return active_;
}

Status StoreEngine::use_model(std::string_view model) {
    if (auto ok = check_process(); !ok) return ok;
    const auto* found = model_of(model);
    if (found == nullptr || found->embedder == nullptr)
        return Error{ErrorCode::not_found, "no embedder of this model was given", {{"field", "model"}}};
    const std::lock_guard lock(active_mutex_);
    active_ = found->embedder;
    return Done{};
}

Status StoreEngine::drop_model(std::string_view model, std::size_t dimension) {
    if (auto ok = check_process(); !ok) return ok;
    const auto found = std::ranges::find_if(models_, [&](const Model& each) {
        return each.vectors->model() == model && each.vectors->dimension() == dimension;
    });
    if (found == models_.end() || found->vectors->dropped())
        return Error{ErrorCode::not_found, "there are no vectors of this model", {{"field", "model"}}};
    if (found->embedder != nullptr)
        return Error{ErrorCode::invalid_argument, "the model is in use", {{"field", "model"}}};
    const std::lock_guard one(erasing_mutex_);
    return embeddings_->drop(*found->vectors);
}

std::string StoreEngine::wait_for_vectors(const Model& model, Seq seq, steady_clock::time_point until) {
    const auto name = model.vectors->projection();
    const auto left = [&] {
        return std::max(duration_cast<milliseconds>(until - steady_clock::now()), milliseconds(0));
    };
    if (seq.value > model.vectors->up_to().value + events_waited_for_max) {
        // Too far.
    } else if (model.filler->wait_for(seq, left())) {
        static_cast<void>(runtime_->wait_for(name, seq, left()));
    }
    const auto wanted = seq > Seq{0} ? seq : runtime_->applied(memory_view);
    const auto applied = runtime_->applied(name);
    if (applied >= wanted) return {};
    auto what = std::to_string(wanted.value - applied.value) + " events have no vectors of the model yet";
    if (const auto state = model.filler->state(); state.waits) what += ": " + state.error;
    return what;
}

Status StoreEngine::wait_for(Seq seq, milliseconds wait_max) {
    if (auto ok = check_process(); !ok) return ok;
    const auto until = steady_clock::now() + wait_max;
    const auto left = [&] {
        return std::max(duration_cast<milliseconds>(until - steady_clock::now()), milliseconds(0));
    };
    for (const auto& model : models_) {
        if (model.embedder == nullptr || !options_.embed_in_background) continue;
        if (auto there = model.filler->wait_for(seq, left()); !there) return there;
    }
    for (const auto& projection : runtime_->status()) {
        const auto model = std::ranges::find_if(
            models_, [&](const Model& each) { return each.vectors->projection() == projection.name; });
        if (model != models_.end() && (model->embedder == nullptr || !options_.embed_in_background)) continue;
        if (auto reached = runtime_->wait_for(projection.name, seq, left()); !reached) return reached.error();
    }
    return Done{};
}

std::vector<EmbeddingStatus> StoreEngine::embedding_status() {
    std::vector<EmbeddingStatus> all;
    if (models_.empty()) return all;
    std::uint64_t memories = 0;
    if (const auto counts = view<MemoryView>(memory_view)->reader()->counts({}))
        for (const auto& [kind, count] : *counts) memories += count;
    const auto active = active_embedder();
    const auto given = view<VectorIndex>(vector_index);
    for (const auto& model : models_) {
        const auto& vectors = *model.vectors;
        if (vectors.dropped()) continue;
        EmbeddingStatus status;
        status.model = vectors.model();
        status.dimension = vectors.dimension();
        status.projection = vectors.projection();
        status.active = active != nullptr && active == model.embedder;
        status.asked = model.embedder != nullptr && options_.embed_in_background;
        status.memories = memories;
        status.vectors = view<VectorIndex>(vectors.projection())->live(vectors.model(), vectors.dimension()) +
                         given->live(vectors.model(), vectors.dimension());
        if (const auto without = vectors.without_vector()) status.without = *without;
        const auto state = model.filler->state();
        status.made = state.asked;
        status.error = state.error;
        const auto applied = runtime_->applied(vectors.projection());
        const auto head = log_->head();
        status.lag_events = head.value - std::min(head, applied).value;
        all.push_back(std::move(status));
    }
    return all;
}

}  // namespace annal
