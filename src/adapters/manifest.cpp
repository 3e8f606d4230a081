#include "manifest.h"

#include "line_reader.h"

#include "events/hex.h"

#include <openssl/evp.h>
#include <nlohmann/json.hpp>

#include <new>

namespace annal {
namespace {

constexpr int manifest_format = 1;

Error not_a_manifest(std::string_view what) {
    return {ErrorCode::invalid_argument, "the manifest " + std::string(what), {{"field", "manifest"}}};
}

Error differs(std::string message) {
    return {ErrorCode::data_loss, std::move(message) + "; nothing was written", {}};
}

}  // namespace

struct ManifestBuilder::Digest {
    std::uint64_t count = 0;
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
};

ManifestBuilder::ManifestBuilder() = default;
ManifestBuilder::~ManifestBuilder() = default;

void ManifestBuilder::add(Kind kind, std::string_view line) {
    auto& digest = digests_[static_cast<std::size_t>(kind)];
    if (!digest) {
        digest = std::make_unique<Digest>();
        if (!digest->context || EVP_DigestInit_ex(digest->context.get(), EVP_sha256(), nullptr) != 1)
            throw std::bad_alloc();
    }
    ++digest->count;
    EVP_DigestUpdate(digest->context.get(), line.data(), line.size());
}

Manifest ManifestBuilder::finish(Seq seq) {
    Manifest manifest{seq, {}};
    for (std::size_t i = 0; i < kind_count; ++i) {
        if (!digests_[i]) continue;
        manifest.kinds[i].count = digests_[i]->count;
        std::array<std::uint8_t, 32> hash{};
        EVP_DigestFinal_ex(digests_[i]->context.get(), hash.data(), nullptr);
        manifest.kinds[i].sha256 = to_hex(hash);
    }
    return manifest;
}

std::string manifest_path(const std::string& file) {
    return file + ".manifest.json";
}

Json to_json(const Manifest& manifest) {
    Json kinds = Json::object();
    std::uint64_t memories = 0;
    for (std::size_t i = 0; i < kind_count; ++i) {
        const auto& [count, sha256] = manifest.kinds[i];
        memories += count;
        if (count != 0) kinds[to_string(static_cast<Kind>(i))] = {{"count", count}, {"sha256", sha256}};
    }
    return {
        {"format", manifest_format}, {"seq", manifest.seq.value}, {"memories", memories}, {"kinds", std::move(kinds)}};
}

Result<Manifest> manifest_from_json(std::string_view text) {
    const auto json = parse_json(text, "the manifest");
    if (!json) return json.error();
    try {
        if (json->at("format").get<int>() > manifest_format)
            return Error{ErrorCode::unimplemented, "the manifest was made by a newer version of this program", {}};
        Manifest manifest;
        manifest.seq = Seq{json->at("seq").get<std::uint64_t>()};
        for (const auto& [name, lines] : json->at("kinds").items()) {
            const auto kind = parse_kind(name);
            if (!kind) return not_a_manifest("names a kind of memory that there is not");
            manifest.kinds[static_cast<std::size_t>(*kind)] = {lines.at("count").get<std::uint64_t>(),
                                                               lines.at("sha256").get<std::string>()};
        }
        return manifest;
    } catch (const Json::exception&) {
        return not_a_manifest("lacks a field, or one is of another type");
    }
}

Status check_manifest(std::istream& file, const Manifest& manifest) {
    ManifestBuilder builder;
    LineReader reader(file);
    std::string line;
    bool too_long = false;
    for (std::uint64_t number = 1; reader.next(line, too_long); ++number) {
        const auto where = "line " + std::to_string(number) + " of the file";
        if (too_long) return differs(where + " is too long");
        if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
        const auto json = parse_json(line, where);
        if (!json || !json->is_object()) return differs(where + " is no memory");
        const auto name = json->find("kind");
        const auto kind = name == json->end() ? std::optional(Kind::note)
                          : name->is_string() ? parse_kind(name->get_ref<const std::string&>())
                                              : std::nullopt;
        if (!kind) return differs(where + " is of a kind that there is not");
        builder.add(*kind, line + '\n');
    }
    if (file.bad()) return Error{ErrorCode::unavailable, "the file cannot be read to its end", {}};
    const auto found = builder.finish(manifest.seq);
    for (std::size_t i = 0; i < kind_count; ++i) {
        const auto name = std::string(to_string(static_cast<Kind>(i)));
        const auto &is = found.kinds[i], &was = manifest.kinds[i];
        if (is.count != was.count)
            return differs("the file has " + std::to_string(is.count) + " memories of kind " + name +
                           ", its manifest says " + std::to_string(was.count));
        if (is != was) return differs("a memory of kind " + name + " is not as it was when the manifest was made");
    }
    return Done{};
}

}  // namespace annal
