#include "cosmos_client.h"

#include "adapters/json.h"

#include "events/base64.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace annal {
namespace {

constexpr std::string_view api_version = "2020-07-15";
constexpr std::size_t page_documents = 1000;

std::string lower(std::string_view text) {
    std::string lowered(text);
    for (char& c : lowered) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    return lowered;
}

std::string escaped(std::string_view text) {
    static constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
            c == '.' || c == '~')
            out += c;
        else
            out.append({'%', digits[byte >> 4], digits[byte & 15]});
    }
    return out;
}

// Headers hold ASCII.
HttpHeader partition_header(std::string_view partition) {
    return {"x-ms-documentdb-partitionkey",
            Json::array({partition}).dump(-1, ' ', true, Json::error_handler_t::replace)};
}

std::string_view name_of(CosmosOperation::Type type) {
    static constexpr std::array<std::string_view, 4> names{"Create", "Upsert", "Replace", "Delete"};
    return names[static_cast<std::size_t>(type)];
}

Error nonsense() {
    return {ErrorCode::unavailable, "the answer is not of its protocol", {}};
}

// The bodies are JSON text already: nothing of them is parsed again.
std::string batch_text(std::span<const CosmosOperation> operations) {
    std::string text = "[";
    for (const auto& operation : operations) {
        if (text.size() > 1) text += ',';
        text.append("{\"operationType\":\"").append(name_of(operation.type)).append("\"");
        if (operation.type != CosmosOperation::Type::create && operation.type != CosmosOperation::Type::upsert)
            text.append(",\"id\":").append(to_text(operation.id));
        if (!operation.if_match.empty()) text.append(",\"ifMatch\":").append(to_text(operation.if_match));
        if (!operation.body.empty()) text.append(",\"resourceBody\":").append(operation.body);
        text += '}';
    }
    return text += ']';
}

}  // namespace

std::string sign_cosmos_request(std::string_view method, std::string_view type, std::string_view link,
                                std::string_view date, std::string_view key) {
    const std::string text =
        lower(method) + "\n" + lower(type) + "\n" + std::string(link) + "\n" + lower(date) + "\n\n";
    std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
    unsigned int size = 0;
    HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
         text.size(), mac.data(), &size);
    return escaped("type=master&ver=1.0&sig=" + to_base64({reinterpret_cast<const char*>(mac.data()), size}));
}

Result<CosmosOptions> parse_cosmos_connection(std::string_view text) {
    const Error wrong{
        ErrorCode::invalid_argument, "a Cosmos DB connection is AccountEndpoint=...;AccountKey=...;Database=...", {}};
    CosmosOptions options;
    while (!text.empty()) {
        const auto part = text.substr(0, text.find(';'));
        text.remove_prefix(std::min(part.size() + 1, text.size()));
        const auto equals = part.find('=');
        if (part.empty()) continue;
        if (equals == std::string_view::npos) return wrong;
        const auto name = lower(part.substr(0, equals));
        const auto value = part.substr(equals + 1);
        if (name == "accountendpoint")
            options.endpoint = value;
        else if (name == "accountkey")
            options.key = value;
        else if (name == "database")
            options.database = value;
        else
            return wrong;
    }
    return options.endpoint.empty() || options.database.empty() ? Result<CosmosOptions>(wrong) : options;
}

Result<std::unique_ptr<CosmosClient>> CosmosClient::create(CosmosOptions options) {
    auto endpoint = parse_http_url(options.endpoint);
    if (!endpoint) return endpoint.error();
    auto key = from_base64(options.key);
    if (!key || key->empty()) return Error{ErrorCode::invalid_argument, "the key of a Cosmos DB account is base64", {}};
    options.service.name = "Cosmos DB";
    options.service.client.endpoint = std::move(*endpoint);
    auto service = HttpService::create(std::move(options.service));
    if (!service) return service.error();
    return std::unique_ptr<CosmosClient>(
        new CosmosClient(std::move(options.database), std::move(*key), std::move(*service)));
}

CosmosClient::CosmosClient(std::string database, std::string key, std::unique_ptr<HttpService> service)
    : database_(std::move(database)), key_(std::move(key)), service_(std::move(service)) {}

CosmosClient::Target CosmosClient::database_target() const {
    return {"colls", "dbs/" + database_, "/dbs/" + escaped(database_) + "/colls"};
}

CosmosClient::Target CosmosClient::documents_of(std::string_view container) const {
    return {"docs", "dbs/" + database_ + "/colls/" + std::string(container),
            "/dbs/" + escaped(database_) + "/colls/" + escaped(container) + "/docs"};
}

Result<HttpResponse> CosmosClient::call(const Target& target, HttpRequest request,
                                        std::function<Status(const HttpResponse&)> read) {
    request.target = target.target;
    request.headers.push_back({"x-ms-version", std::string(api_version)});
    request.headers.push_back({"accept", "application/json"});
    HttpCall call{.request = std::move(request), .read = std::move(read)};
    call.authorize = [&](HttpRequest& signed_request, bool again) -> Result<bool> {
        if (again) return false;  // The same key gives the same answer.
        const auto date = to_http_date(service_->clock().now());
        signed_request.headers.push_back({"x-ms-date", date});
        signed_request.headers.push_back(
            {"authorization", sign_cosmos_request(signed_request.method, target.type, target.link, date, key_)});
        return true;
    };
    call.answered = [this](const HttpResponse& response) {
        if (const auto* charge = response.header("x-ms-request-charge"))
            if (const double units = std::strtod(charge->c_str(), nullptr); units > 0 && units < 1e9)
                centi_units_ += std::llround(units * 100);
    };
    return service_->call(call);
}

Status CosmosClient::make(const Target& target, const Json& body) {
    auto made =
        call(target, {.method = "POST", .headers = {{"content-type", "application/json"}}, .body = to_text(body)});
    if (!made && made.error().code != ErrorCode::conflict) return made.error();
    return Done{};
}

Status CosmosClient::make_database() {
    return make({"dbs", "", "/dbs"}, {{"id", database_}});
}

Status CosmosClient::make_container(const CosmosContainer& container) {
    Json indexing{{"indexingMode", "consistent"},
                  {"automatic", true},
                  {"includedPaths", Json::array({{{"path", "/*"}}})},
                  {"excludedPaths", Json::array({{{"path", "/\"_etag\"/?"}}})}};
    Json body{{"id", container.name},
              {"partitionKey", {{"paths", Json::array({container.partition_path})}, {"kind", "Hash"}, {"version", 2}}}};
    if (!container.vector_path.empty()) {
        indexing["excludedPaths"].push_back({{"path", container.vector_path + "/*"}});
        indexing["vectorIndexes"] = Json::array({{{"path", container.vector_path}, {"type", "diskANN"}}});
        body["vectorEmbeddingPolicy"] = {{"vectorEmbeddings", Json::array({{{"path", container.vector_path},
                                                                            {"dataType", "float32"},
                                                                            {"dimensions", container.vector_dimension},
                                                                            {"distanceFunction", "cosine"}}})}};
    }
    body["indexingPolicy"] = std::move(indexing);
    return make(database_target(), body);
}

Result<std::optional<CosmosClient::Document>> CosmosClient::read(std::string_view container, std::string_view partition,
                                                                 std::string_view id) {
    Target target = documents_of(container);
    target.link.append("/docs/").append(id);
    target.target.append("/").append(escaped(id));
    Document document;
    const auto answered =
        call(target, {.headers = {partition_header(partition)}}, [&](const HttpResponse& response) -> Status {
            auto body = parse_json(response.body, "the answer");
            const auto* etag = response.header("etag");
            if (!body || !body->is_object() || !etag) return nonsense();
            document = {std::make_shared<const Json>(std::move(*body)), *etag};
            return Done{};
        });
    if (answered) return std::optional(std::move(document));
    if (answered.error().code == ErrorCode::not_found) return std::optional<Document>();
    return answered.error();
}

Result<std::vector<std::string>> CosmosClient::batch(std::string_view container, std::string_view partition,
                                                     std::span<const CosmosOperation> operations) {
    std::string body = batch_text(operations);
    if (operations.empty() || operations.size() > operations_max || body.size() > request_bytes_max)
        return Error{ErrorCode::invalid_argument,
                     "a batch holds 1 to 100 operations, of 2 MB together",
                     {{"limit", std::to_string(operations_max)}}};
    std::vector<std::string> etags;
    auto answered = call(
        documents_of(container),
        {.method = "POST",
         .headers = {partition_header(partition),
                     {"content-type", "application/json"},
                     {"prefer", "return=minimal"},  // No document comes back.
                     {"x-ms-cosmos-is-batch-request", "true"},
                     {"x-ms-cosmos-batch-atomic", "true"}},
         .body = std::move(body)},
        [&](const HttpResponse& response) -> Status {
            const auto results = parse_json(response.body, "the answer");
            if (!results || !results->is_array() || results->size() != operations.size()) return nonsense();
            etags.clear();
            int culprit = 0;  // The others of a failed batch have 424.
            for (const auto& result : *results) {
                if (!result.is_object() || !result.contains("statusCode") || !result["statusCode"].is_number_integer())
                    return nonsense();
                const auto status = result["statusCode"].get<int>();
                if (status >= 300 && (culprit == 0 || culprit == 424)) culprit = status;
                const auto etag = result.find("eTag");
                etags.push_back(etag != result.end() && etag->is_string() ? etag->get<std::string>() : std::string());
            }
            if (culprit == 0 && response.status == 207) return nonsense();
            if (culprit != 0) return error_of_status(culprit, service_->name());
            return Done{};
        });
    if (!answered) return answered.error();
    return etags;
}

Result<std::vector<std::shared_ptr<const CosmosClient::Json>>> CosmosClient::query(std::string_view container,
                                                                                   std::string_view partition,
                                                                                   const Query& query) {
    Json parameters = Json::array();
    for (const auto& [name, value] : query.parameters)
        parameters.push_back({{"name", name}, {"value", Json::parse(value, nullptr, false)}});
    const std::string body = to_text({{"query", query.text}, {"parameters", std::move(parameters)}});
    std::vector<std::shared_ptr<const Json>> found;
    for (std::string continuation;;) {
        HttpRequest request{.method = "POST",
                            .headers = {partition_header(partition),
                                        {"content-type", "application/query+json"},
                                        {"x-ms-documentdb-isquery", "true"},
                                        {"x-ms-max-item-count", std::to_string(page_documents)}},
                            .body = body};
        if (!continuation.empty()) request.headers.push_back({"x-ms-continuation", continuation});
        Json page;
        auto answered = call(documents_of(container), std::move(request), [&](const HttpResponse& response) -> Status {
            auto json = parse_json(response.body, "the answer");
            if (!json || !json->is_object() || !json->contains("Documents") || !(*json)["Documents"].is_array())
                return nonsense();
            page = std::move((*json)["Documents"]);
            return Done{};
        });
        if (!answered) return answered.error();
        for (auto& document : page) found.push_back(std::make_shared<const Json>(std::move(document)));
        const auto* next = answered->header("x-ms-continuation");
        if (!next || next->empty()) return found;
        continuation = *next;
    }
}

}  // namespace annal
