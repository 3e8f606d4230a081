#include "vector_graph_file.h"

#include "events/crc32c.h"
#include "vector_file.h"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace annal {
namespace {

constexpr std::uint32_t format = 1;
constexpr std::size_t header_bytes = 52;
using Header = std::array<char, header_bytes>;

template <class T>
void put(Header& header, std::size_t offset, T value) {
    std::memcpy(header.data() + offset, &value, sizeof value);
}
template <class T>
T get(const Header& header, std::size_t offset) {
    T value{};
    std::memcpy(&value, header.data() + offset, sizeof value);
    return value;
}

std::uint32_t crc(std::string_view bytes) {
    return crc32c(bytes.data(), bytes.size());
}

// What a file of this build begins with, whatever its graph.
Header make_header(const VectorGraph& graph, std::size_t dimension) {
    Header header{};
    std::memcpy(header.data(), "ANNLGRPH", 8);
    put(header, 8, format);
    put(header, 12, static_cast<std::uint32_t>(dimension));
    put(header, 16, static_cast<std::uint32_t>(VectorGraph::links_max));
    put(header, 20, static_cast<std::uint32_t>(VectorGraph::breadth));
    put(header, 24, static_cast<std::uint32_t>(graph.block()));
    return header;
}

Error damaged_graph(std::string_view what) {
    return {ErrorCode::data_loss, "the vector graph " + std::string(what), {}};
}

}  // namespace

std::uint32_t rows_checksum(const VectorRows& rows, Slot begin, Slot end, std::uint32_t seed) {
    for (auto slot = begin; slot < end; ++slot) {
        const auto row = rows.checksum(slot);
        seed = crc32c(&row, sizeof row, seed);
    }
    return seed;
}

Status write_graph(const std::filesystem::path& path, const VectorGraph& graph, const VectorRows& rows,
                   std::size_t dimension) {
    const auto slots = graph.linked();
    std::string links;
    links.reserve(std::size_t{slots} * (VectorGraph::ground_links_max * sizeof(Slot) + 8));
    graph.serialise(links);
    auto header = make_header(graph, dimension);
    put(header, 28, slots);
    put(header, 32, static_cast<std::uint64_t>(links.size()));
    put(header, 40, rows_checksum(rows, 0, slots, 0));
    put(header, 44, crc(links));
    put(header, 48, crc({header.data(), header_bytes - 4}));

    auto beside = path;
    beside += ".new";
    {
        const VectorFile file(beside, O_WRONLY | O_CREAT | O_TRUNC);
        if (!file.is_open()) return VectorFile::error("making", errno);
        if (auto written = file.write_at(0, std::as_bytes(std::span(header))); !written) return written;
        if (auto written = file.write_at(header_bytes, std::as_bytes(std::span(links))); !written) return written;
        if (auto synced = file.sync(); !synced) return synced;
    }
    if (::rename(beside.c_str(), path.c_str()) != 0) return VectorFile::error("renaming", errno);
    const VectorFile directory(path.parent_path(), O_RDONLY | O_DIRECTORY);
    return directory.is_open() ? directory.sync() : VectorFile::error("syncing", errno);
}

Status read_graph(const std::filesystem::path& path, VectorGraph& graph, const VectorRows& rows, std::size_t dimension,
                  Slot count) {
    const VectorFile file(path, O_RDONLY);
    if (!file.is_open() && errno == ENOENT) return Error{ErrorCode::not_found, "no vector graph was saved", {}};
    if (!file.is_open()) return VectorFile::error("opening", errno);
    Header header{};
    if (!file.read_at(0, std::as_writable_bytes(std::span(header)))) return damaged_graph("is too short");
    if (get<std::uint32_t>(header, 48) != crc({header.data(), header_bytes - 4}))
        return damaged_graph("fails its checksum");
    const auto expected = make_header(graph, dimension);
    if (std::memcmp(header.data(), expected.data(), 28) != 0) return damaged_graph("is of another format");
    const auto slots = get<Slot>(header, 28);
    if (slots > count || get<std::uint32_t>(header, 40) != rows_checksum(rows, 0, slots, 0))
        return damaged_graph("is of other rows");
    std::error_code failed;
    const auto size = std::filesystem::file_size(path, failed);
    if (failed || size != header_bytes + get<std::uint64_t>(header, 32)) return damaged_graph("is of another length");
    std::string links(size - header_bytes, '\0');
    if (!file.read_at(header_bytes, std::as_writable_bytes(std::span(links)))) return damaged_graph("is too short");
    if (get<std::uint32_t>(header, 44) != crc(links)) return damaged_graph("fails its checksum");
    if (!graph.restore(links, slots)) return damaged_graph("has links that cannot be");
    return Done{};
}

}  // namespace annal
