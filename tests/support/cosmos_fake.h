// A strict Cosmos DB for tests, as far as sinks use one: it checks every signature, wants one partition of every
// request for documents, applies batches whole or not at all, keeps ETags, and fails as it is told to. Numbers are
// doubles there: an integer beyond 2^53 does not come back as it was.
#pragma once

#include "http_fake.h"

#include "events/base64.h"

#include <annal/timestamp.h>

#include <openssl/hmac.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <regex>
#include <string>
#include <vector>

namespace annal::testing {

enum class CosmosFault {
    none,
    throttle,     // 429, and a window in which nobody may ask.
    retry_with,   // 449
    timeout,      // 408
    unavailable,  // 503
    drop_before,  // Reads, does nothing, closes.
    drop_after,   // Does it, closes in place of an answer.
    part_fails,   // 207: one of the batch has 449, nothing is done.
};

class CosmosFake {
 public:
    // The clock is the one that the client's requests are dated by; nothing else moves it.
    explicit CosmosFake(Clock& clock, HttpFake::Over over = HttpFake::Over::plain)
        : clock_(clock), server_([this](const FakeRequest& request) { return answer(request); }, over) {}

    std::string url(std::string_view host = "localhost") const { return server_.url(host) + "/"; }
    const std::string& ca_file() const { return server_.ca_file(); }
    static std::string key() { return to_base64(key_bytes()); }

    // Asked before each request is served, by its number from 1.
    void fail_by(std::function<CosmosFault(int number)> chooser) {
        const std::scoped_lock lock(mutex_);
        chooser_ = std::move(chooser);
        requests_ = 0;
    }
    void fail_next(std::deque<CosmosFault> faults) {
        fail_by([faults = std::move(faults)](int number) {
            const auto place = static_cast<std::size_t>(number - 1);
            return place < faults.size() ? faults[place] : CosmosFault::none;
        });
    }

    struct Counts {
        int requests = 0;
        int unsigned_requests = 0;
        int without_partition = 0;  // Of those for documents.
        int too_early = 0;          // Within a window that a 429 named.
        int refused = 0;            // 400 and 413: what a client should never send.
        int batches = 0;            // That were applied.
        int operations = 0;         // Of these.
        int throttled = 0;
        double request_units = 0;  // Of answers that were sent.
    };
    Counts counts() const {
        const std::scoped_lock lock(mutex_);
        return counts_;
    }
    // Every document, for comparisons and searches.
    std::string dump() const {
        const std::scoped_lock lock(mutex_);
        std::string text;
        for (const auto& [name, container] : containers_)
            for (const auto& [partition, documents] : container.partitions)
                for (const auto& [id, document] : documents)
                    text += name + " " + partition + " " + id + " " + document.body.dump() + "\n";
        return text;
    }
    std::optional<nlohmann::json> container(const std::string& name) const {
        const std::scoped_lock lock(mutex_);
        const auto found = containers_.find(name);
        return found == containers_.end() ? std::nullopt : std::optional(found->second.definition);
    }

 private:
    using Json = nlohmann::json;
    struct Document {
        Json body{};
        std::string etag{};
    };
    using Partition = std::map<std::string, Document>;
    struct Undo {  // Puts back what it remembers.
        Partition& partition;
        std::map<std::string, std::optional<Document>> before{};
        void remember(const std::string& id) {
            const auto found = partition.find(id);
            before.try_emplace(id, found == partition.end() ? std::nullopt : std::optional(found->second));
        }
        ~Undo() {
            for (auto& [id, document] : before)
                if (document)
                    partition[id] = *std::move(document);
                else
                    partition.erase(id);
        }
    };
    struct Container {
        Json definition{};
        std::string partition_field{};
        std::map<std::string, Partition> partitions{};
    };

    static std::string key_bytes() { return std::string(64, 'k'); }

    static std::string lower(std::string text) {
        for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        return text;
    }
    static std::string unescaped(const std::string& text) {
        std::string out;
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] != '%') {
                out += text[i];
                continue;
            }
            out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
            i += 2;
        }
        return out;
    }
    static bool is_signed(const FakeRequest& request, const std::string& type, const std::string& link) {
        const std::string text =
            lower(request.method) + "\n" + type + "\n" + link + "\n" + lower(request.header("x-ms-date")) + "\n\n";
        unsigned char mac[EVP_MAX_MD_SIZE];
        unsigned int size = 0;
        HMAC(EVP_sha256(), key_bytes().data(), 64, reinterpret_cast<const unsigned char*>(text.data()), text.size(),
             mac, &size);
        return unescaped(request.header("authorization")) ==
               "type=master&ver=1.0&sig=" + to_base64({reinterpret_cast<const char*>(mac), size});
    }

    static FakeAnswer failure(int status, const std::string& code) {
        return {.status = status,
                .body = Json{{"code", code}, {"message", "as " + code}}.dump(),
                .headers = {{"x-ms-request-charge", "0.5"}}};
    }
    static FakeAnswer throttled() {
        auto answer = failure(429, "TooManyRequests");
        answer.headers = {{"x-ms-retry-after-ms", "300"}};  // Free of charge.
        return answer;
    }
    FakeAnswer refusal(int status, const std::string& code) {
        ++counts_.refused;
        return failure(status, code);
    }
    static FakeAnswer success(int status, const Json& body, const std::string& etag = {}) {
        FakeAnswer answer{.status = status, .body = body.dump(), .headers = {{"x-ms-request-charge", "1.25"}}};
        if (!etag.empty()) answer.headers.emplace_back("etag", etag);
        return answer;
    }

    FakeAnswer answer(const FakeRequest& request) {
        const std::scoped_lock lock(mutex_);
        auto done = answer_by_chance(request);
        if (done.status == 429) ++counts_.throttled;
        for (const auto& [name, value] : done.headers)
            if (name == "x-ms-request-charge" && done.fault == Fault::none) counts_.request_units += std::stod(value);
        return done;
    }

    FakeAnswer answer_by_chance(const FakeRequest& request) {
        ++counts_.requests;
        ++requests_;
        if (clock_.now() < not_before_) ++counts_.too_early;
        const auto fault = chooser_ ? chooser_(requests_) : CosmosFault::none;
        switch (fault) {
            case CosmosFault::throttle:
                not_before_ = {clock_.now().us + 300'000};
                return throttled();
            case CosmosFault::retry_with:
                return failure(449, "RetryWith");
            case CosmosFault::timeout:
                return failure(408, "RequestTimeout");
            case CosmosFault::unavailable:
                return failure(503, "ServiceUnavailable");
            case CosmosFault::drop_before:
                return {.fault = Fault::drop};
            case CosmosFault::part_fails:
                if (request.header("x-ms-cosmos-is-batch-request") == "true") {
                    Json results = Json::array();
                    const auto count = Json::parse(request.body).size();
                    for (std::size_t i = 0; i < count; ++i)
                        results.push_back({{"statusCode", i == count / 2 ? 449 : 424}, {"requestCharge", 0}});
                    return {.status = 207, .body = results.dump()};
                }
                return failure(449, "RetryWith");
            case CosmosFault::none:
            case CosmosFault::drop_after:
                break;
        }
        FakeAnswer done;
        try {
            done = serve(request);
        } catch (const Json::exception&) {
            done = refusal(400, "BadRequest");
        }
        if (fault == CosmosFault::drop_after) done.fault = Fault::drop;
        return done;
    }

    FakeAnswer serve(const FakeRequest& request) {
        std::vector<std::string> parts;
        std::string rest = request.target;
        while (!rest.empty()) {
            const auto slash = rest.find('/', 1);
            parts.push_back(unescaped(rest.substr(1, slash == std::string::npos ? slash : slash - 1)));
            rest = slash == std::string::npos ? "" : rest.substr(slash);
        }
        const bool account = parts.size() == 1 && parts[0].empty();
        if ((!account && (parts.empty() || parts[0] != "dbs")) || request.header("x-ms-version").empty() ||
            request.header("x-ms-date").empty())
            return refusal(400, "BadRequest");
        // A feed is signed by its parent, an item by itself.
        std::string link;
        for (std::size_t i = 0; i < (parts.size() % 2 == 0 ? parts.size() : parts.size() - 1); ++i)
            link += (i == 0 ? "" : "/") + parts[i];
        const std::string type = parts[parts.size() % 2 == 0 ? parts.size() - 2 : parts.size() - 1];
        if (!is_signed(request, type, link)) {
            ++counts_.unsigned_requests;
            return failure(401, "Unauthorized");
        }
        if (account) return describe_account(request);
        if (parts.size() == 1) return make_database(request);
        if (databases_.count(parts[1]) == 0) return failure(404, "NotFound");
        if (parts.size() == 2)
            return request.method == "GET" ? success(200, {{"id", parts[1]}}) : refusal(400, "BadRequest");
        if (parts.size() == 3) return make_container(request);
        const auto container = containers_.find(parts.size() > 3 ? parts[3] : "");
        if (container == containers_.end()) return failure(404, "NotFound");
        if (parts.size() == 4)
            return request.method == "GET" ? success(200, container->second.definition) : refusal(400, "BadRequest");
        if (parts[4] != "docs" || parts.size() > 6) return refusal(400, "BadRequest");
        return documents(request, container->second, parts.size() > 5 ? parts[5] : "");
    }

    // Where an account is: what clients other than ours ask first.
    FakeAnswer describe_account(const FakeRequest& request) {
        if (request.method != "GET") return refusal(400, "BadRequest");
        const Json here =
            Json::array({{{"name", "here"}, {"databaseAccountEndpoint", "http://" + request.header("host") + "/"}}});
        return success(200, {{"id", "fake"},
                             {"writableLocations", here},
                             {"readableLocations", here},
                             {"enableMultipleWriteLocations", false},
                             {"userConsistencyPolicy", {{"defaultConsistencyLevel", "Session"}}}});
    }

    FakeAnswer make_database(const FakeRequest& request) {
        if (request.method != "POST") return refusal(400, "BadRequest");
        const auto body = Json::parse(request.body);
        if (!databases_.insert({body.at("id"), true}).second) return failure(409, "Conflict");
        return success(201, body);
    }

    FakeAnswer make_container(const FakeRequest& request) {
        if (request.method != "POST") return refusal(400, "BadRequest");
        const auto body = Json::parse(request.body);
        const std::string id = body.at("id");
        if (containers_.count(id) != 0) return failure(409, "Conflict");
        const std::string path = body.at("partitionKey").at("paths").at(0);
        containers_[id] = {body, path.substr(1), {}};
        return success(201, body);
    }

    FakeAnswer documents(const FakeRequest& request, Container& container, const std::string& id) {
        const auto key = request.header("x-ms-documentdb-partitionkey");
        const auto partition_key = Json::parse(key, nullptr, false);
        if (!partition_key.is_array() || partition_key.size() != 1 || !partition_key[0].is_string() ||
            std::ranges::any_of(key, [](char c) { return static_cast<unsigned char>(c) >= 0x7F || c < ' '; })) {
            ++counts_.without_partition;
            return refusal(400, "BadRequest");
        }
        const std::string name = partition_key[0];
        auto& partition = container.partitions[name];
        if (request.method == "GET" && !id.empty()) {
            const auto found = partition.find(id);
            return found == partition.end() ? failure(404, "NotFound")
                                            : success(200, found->second.body, found->second.etag);
        }
        if (request.method == "PUT" && !id.empty()) return write(request, "Replace", id, container, partition, name);
        if (request.method == "DELETE" && !id.empty()) return write(request, "Delete", id, container, partition, name);
        if (request.method != "POST" || !id.empty()) return refusal(400, "BadRequest");
        if (request.header("x-ms-documentdb-isquery") == "true") return query(request, partition);
        if (request.header("x-ms-cosmos-is-batch-request") == "true" &&
            request.header("x-ms-cosmos-batch-atomic") == "true")
            return batch(request, container, partition, name);
        const auto body = Json::parse(request.body, nullptr, false);
        if (!body.is_object() || !body.contains("id")) return refusal(400, "BadRequest");
        return write(request, request.header("x-ms-documentdb-is-upsert") == "true" ? "Upsert" : "Create", body["id"],
                     container, partition, name);
    }

    // A request of one operation.
    FakeAnswer write(const FakeRequest& request, const std::string& type, const std::string& id,
                     const Container& container, Partition& partition, const std::string& name) {
        Json operation{{"operationType", type}, {"id", id}};
        if (type != "Delete") operation["resourceBody"] = Json::parse(request.body, nullptr, false);
        if (const auto etag = request.header("if-match"); !etag.empty()) operation["ifMatch"] = etag;
        const int status = apply(operation, container, partition, name);
        static const std::map<int, std::string> codes{
            {400, "BadRequest"}, {404, "NotFound"}, {409, "Conflict"}, {412, "PreconditionFailed"}};
        if (status == 400) return refusal(400, "BadRequest");
        if (status >= 300) return failure(status, codes.at(status));
        if (status == 204) return {.status = 204, .headers = {{"x-ms-request-charge", "1.25"}}};
        const auto& document = partition.at(id);
        return success(status, document.body, document.etag);
    }

    FakeAnswer batch(const FakeRequest& request, const Container& container, Partition& partition,
                     const std::string& name) {
        const auto operations = Json::parse(request.body);
        if (operations.empty() || operations.size() > 100) return refusal(400, "BadRequest");
        if (request.body.size() > (std::size_t{2} << 20)) return refusal(413, "RequestEntityTooLarge");
        Undo undo{partition};
        Json results = Json::array();
        for (const auto& operation : operations) {
            undo.remember(id_of(operation));
            const int status = apply(operation, container, partition, name);
            if (status == 400) return refusal(400, "BadRequest");
            if (status >= 300) {
                const auto at = results.size();
                results = Json::array();
                for (std::size_t i = 0; i < operations.size(); ++i)
                    results.push_back({{"statusCode", i == at ? status : 424}, {"requestCharge", 0}});
                return {.status = 207, .body = results.dump()};
            }
            results.push_back({{"statusCode", status}, {"requestCharge", 1.25}});
            if (status == 204) continue;
            const auto& document = partition.at(id_of(operation));
            results.back()["eTag"] = document.etag;
            if (request.header("prefer") != "return=minimal") results.back()["resourceBody"] = document.body;
        }
        undo.before.clear();
        ++counts_.batches;
        counts_.operations += static_cast<int>(operations.size());
        return success(200, results);
    }

    static std::string id_of(const Json& operation) {
        return operation.contains("id") ? operation.at("id") : operation.at("resourceBody").at("id");
    }

    int apply(const Json& operation, const Container& container, Partition& partition, const std::string& name) {
        const std::string type = operation.at("operationType");
        const auto id = id_of(operation);
        if (id.empty() || id.size() > 1023 || id.find_first_of("/\\?#") != std::string::npos) return 400;
        const auto found = partition.find(id);
        const bool there = found != partition.end();
        if (operation.contains("ifMatch") && there && operation.at("ifMatch") != found->second.etag) return 412;
        if ((type == "Replace" || type == "Delete") && !there) return 404;
        if (type == "Create" && there) return 409;
        if (type == "Delete") {
            partition.erase(found);
            return 204;
        }
        if (type != "Create" && type != "Upsert" && type != "Replace") return 400;
        Json body = operation.at("resourceBody");
        if (body.at("id") != id || body.value(container.partition_field, "") != name) return 400;
        as_doubles(body);
        const std::string etag = "\"" + std::to_string(++etags_) + "\"";
        body["_etag"] = etag;
        partition[id] = {std::move(body), etag};
        return there ? 200 : 201;
    }

    static void as_doubles(Json& json) {
        constexpr double exact = 9007199254740992.0;
        if (json.is_structured())
            for (auto& part : json) as_doubles(part);
        if (json.is_number_integer() && std::abs(json.get<double>()) >= exact) json = json.get<double>();
    }

    // SELECT *|c.a FROM c [WHERE c.a.b = @p AND c.d < @q AND ARRAY_CONTAINS(@r, c.e)] [ORDER BY c.f]
    FakeAnswer query(const FakeRequest& request, const Partition& partition) {
        if (request.header("content-type") != "application/query+json") return refusal(400, "BadRequest");
        const auto body = Json::parse(request.body);
        std::map<std::string, Json> parameters;
        for (const auto& one : body.value("parameters", Json::array())) parameters[one.at("name")] = one.at("value");
        const std::string text = body.at("query");
        std::smatch parts;
        static const std::regex whole(R"(SELECT (\*|c\.\w+) FROM c(?: WHERE (.*?))?(?: ORDER BY c\.(\w+))?)");
        if (!std::regex_match(text, parts, whole)) return refusal(400, "BadRequest");
        std::vector<std::function<bool(const Json&)>> conditions;
        std::string where = parts[2];
        static const std::regex compares(R"(c((?:\.\w+)+) (=|<) (@\w+))");
        static const std::regex contains(R"(ARRAY_CONTAINS\((@\w+), c((?:\.\w+)+)\))");
        while (!where.empty()) {
            const auto end = where.find(" AND ");
            const auto one = where.substr(0, end);
            where = end == std::string::npos ? "" : where.substr(end + 5);
            std::smatch terms;
            if (std::regex_match(one, terms, compares) && parameters.count(terms[3]) != 0)
                conditions.emplace_back([path = pointer(terms[1]), less = terms[2] == "<",
                                         value = parameters[terms[3]]](const Json& document) {
                    if (!document.contains(path)) return false;
                    const auto& field = document.at(path);
                    return less ? field.type() == value.type() && field < value : field == value;
                });
            else if (std::regex_match(one, terms, contains) && parameters.count(terms[1]) != 0)
                conditions.emplace_back([path = pointer(terms[2]), value = parameters[terms[1]]](const Json& document) {
                    return document.contains(path) && std::ranges::count(value, document.at(path)) > 0;
                });
            else
                return refusal(400, "BadRequest");
        }
        // Small pages, whatever was asked for: so every query of some size has several.
        const auto from = std::stoul("0" + request.header("x-ms-continuation"));
        std::size_t found = 0;
        Json page = Json::array();
        for (const auto& [id, document] : partition) {  // By id: the only order that is asked for.
            const auto& body = document.body;
            if (!std::ranges::all_of(conditions, [&body](const auto& holds) { return holds(body); })) continue;
            if (found++ < from) continue;
            if (page.size() == 7) break;
            page.push_back(parts[1] == "*" ? body : Json{{"id", id}});
        }
        auto answer = success(200, {{"Documents", page}, {"_count", page.size()}});
        if (found > from + 7) answer.headers.emplace_back("x-ms-continuation", std::to_string(from + 7));
        return answer;
    }
    static Json::json_pointer pointer(std::string path) {
        std::ranges::replace(path, '.', '/');
        return Json::json_pointer(path);
    }

    Clock& clock_;
    mutable std::mutex mutex_;
    std::function<CosmosFault(int)> chooser_;
    int requests_ = 0;
    Counts counts_;
    Timestamp not_before_{};
    std::map<std::string, bool> databases_;
    std::map<std::string, Container> containers_;
    std::uint64_t etags_ = 0;
    HttpFake server_;  // Last: it is the first to go.
};

}  // namespace annal::testing
