// The part of Azure Cosmos DB's REST API that a sink needs. Every request names its one partition: none is spread over
// all of them.
// Repeated:  as HttpService does. So a batch must be one that may be sent twice: guarded by an `if_match`, its second
//            time is a conflict, and who gets one reads what is there.
// Errors:    those of HttpService. conflict: an `if_match` that does not hold, or a Create of what is there.
//            not_found: a Replace or Delete of what is not, or no such database. None holds the key, a document or a
//            partition.
// Threads:   every method may be called from any thread.
#pragma once

#include "http_service.h"

#include <nlohmann/json_fwd.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

struct CosmosOptions {
    std::string endpoint{};  // "https://account.documents.azure.com:443/"
    std::string key{};       // Base64, as the portal shows it.
    std::string database = "annal";
    HttpServiceOptions service{};  // Its name and endpoint are set from the above.
};

// "AccountEndpoint=...;AccountKey=...;Database=..."; the last two may be left out. invalid_argument: anything else.
Result<CosmosOptions> parse_cosmos_connection(std::string_view text);

// The `authorization` header. link: of what is named, or of the parent of what is listed or made; "dbs/d/colls/c".
// key: the bytes.
std::string sign_cosmos_request(std::string_view method, std::string_view type, std::string_view link,
                                std::string_view date, std::string_view key);

struct CosmosContainer {
    std::string name{};
    std::string partition_path{};      // "/project"
    std::string vector_path{};         // Empty: it has none.
    std::size_t vector_dimension = 0;  // Up to 4096, cosine.
};

// What one partition of a container is to have, or no longer.
struct CosmosOperation {
    enum class Type { create, upsert, replace, remove };
    Type type = Type::upsert;
    std::string id{};        // Without / \ ? #.
    std::string if_match{};  // An ETag; empty: whatever is there.
    std::string body{};      // JSON text, holding the id and the partition; empty for remove.
};

class CosmosClient {
 public:
    using Json = nlohmann::ordered_json;
    static constexpr std::size_t operations_max = 100;
    static constexpr std::size_t request_bytes_max = 2'000'000;  // Of 2 MiB, with room for what surrounds the bodies.

    static Result<std::unique_ptr<CosmosClient>> create(CosmosOptions options);

    // There afterwards, made or found. A container that is found is left as it is.
    Status make_database();
    Status make_container(const CosmosContainer& container);

    struct Document {
        std::shared_ptr<const Json> body{};
        std::string etag{};
    };
    Result<std::optional<Document>> read(std::string_view container, std::string_view partition, std::string_view id);

    // All or nothing. The new ETags, by operation; empty for remove. invalid_argument: more than one batch holds.
    Result<std::vector<std::string>> batch(std::string_view container, std::string_view partition,
                                           std::span<const CosmosOperation> operations);

    struct Query {
        std::string text{};
        std::vector<std::pair<std::string, std::string>> parameters{};  // "@name" and its value as JSON text.
    };
    // All documents of the partition that answer, in the order of the query.
    Result<std::vector<std::shared_ptr<const Json>>> query(std::string_view container, std::string_view partition,
                                                           const Query& query);

    // What every answer that came was charged with, since the start.
    double request_units() const { return static_cast<double>(centi_units_.load()) / 100; }
    HttpServiceCounts counts() const { return service_->counts(); }
    BreakerState breaker_state() const { return service_->breaker_state(); }

 private:
    CosmosClient(std::string database, std::string key, std::unique_ptr<HttpService> service);
    struct Target {
        std::string_view type{};
        std::string link{};    // Signed.
        std::string target{};  // Of the request.
    };
    Target database_target() const;
    Target documents_of(std::string_view container) const;
    Result<HttpResponse> call(const Target& target, HttpRequest request,
                              std::function<Status(const HttpResponse&)> read = {});
    Status make(const Target& target, const Json& body);

    const std::string database_;
    const std::string key_;
    std::unique_ptr<HttpService> service_;
    std::atomic<std::int64_t> centi_units_{0};
};

}  // namespace annal
