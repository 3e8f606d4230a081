#include "vector_source.h"

#include "memory_event_generated.h"

namespace annal {
namespace {

const fbs::Embedding* embedding_of(const EventView& event) {
    if (const auto* recorded = event.table().body_as_MemoryRecorded()) return recorded->embedding();
    if (const auto* revised = event.table().body_as_MemoryRevised()) return revised->embedding();
    return nullptr;
}

const flatbuffers::String* content_of(const EventView& event) {
    if (const auto* recorded = event.table().body_as_MemoryRecorded()) return recorded->content();
    if (const auto* revised = event.table().body_as_MemoryRevised()) return revised->content();
    return nullptr;
}

}  // namespace

bool brings_vector_of(const VectorSource& source, const EventView& event) {
    const auto* given = embedding_of(event);
    return given != nullptr && given->values()->size() == source.dimension() && given->model() != nullptr &&
           given->model()->string_view() == source.model();
}

std::optional<std::string_view> text_to_embed(const VectorSource& source, const EventView& event) {
    const auto* content = content_of(event);
    if (content == nullptr || brings_vector_of(source, event)) return std::nullopt;
    return content->string_view();
}

}  // namespace annal
