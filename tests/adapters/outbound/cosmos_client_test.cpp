#include "adapters/outbound/cosmos_client.h"

#include "events/base64.h"
#include "support/cosmos_fake.h"
#include "support/patient_caller.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace annal {
namespace {

using testing::CosmosFake;
using testing::CosmosFault;
using testing::HttpFake;
using testing::PatientCaller;
using Type = CosmosOperation::Type;

struct Account {
    explicit Account(HttpFake::Over over = HttpFake::Over::plain) : fake(caller.clock, over) {
        CosmosOptions options;
        options.endpoint = fake.url();
        options.key = CosmosFake::key();
        options.service = caller.options();
        if (over == HttpFake::Over::tls) options.service.client.ca_file = fake.ca_file();
        auto opened = CosmosClient::create(options);
        REQUIRE(opened);
        client = std::move(*opened);
        REQUIRE(client->make_database());
        REQUIRE(client->make_container({.name = "things", .partition_path = "/project"}));
    }

    PatientCaller caller{};
    CosmosFake fake;
    std::unique_ptr<CosmosClient> client{};
};

CosmosOperation document(Type type, const std::string& id, int value, std::string if_match = {}) {
    return {type, id, std::move(if_match),
            R"({"id":")" + id + R"(","project":"shop","value":)" + std::to_string(value) + "}"};
}

TEST_CASE("a request is signed as the official client signs it", "[cosmos]") {
    CHECK(
        sign_cosmos_request("POST", "docs", "dbs/db/colls/c", "Fri, 20 Nov 2026 17:23:26 GMT", std::string(64, 'k')) ==
        "type%3Dmaster%26ver%3D1.0%26sig%3Dvtp0DCyNwaEWWDabxUAKSPJq5XxzIgKypRjzWGCS434%3D");
}

TEST_CASE("a batch is applied whole, and its documents can be read and asked for", "[cosmos]") {
    Account account(GENERATE(HttpFake::Over::plain, HttpFake::Over::tls));
    std::vector<CosmosOperation> operations;
    for (int i = 0; i < 30; ++i) operations.push_back(document(Type::create, "d" + std::to_string(100 + i), i));

    const auto etags = account.client->batch("things", "shop", operations);

    REQUIRE(etags);
    const auto read = account.client->read("things", "shop", "d107");
    REQUIRE(read);
    REQUIRE(*read);
    CHECK((*read)->etag == (*etags)[7]);
    CHECK((*read)->body->at("value") == 7);
    const auto found =
        account.client->query("things", "shop", {"SELECT * FROM c WHERE c.value < @v ORDER BY c.id", {{"@v", "20"}}});
    REQUIRE(found);
    REQUIRE(found->size() == 20);  // Of three pages.
    CHECK(found->at(19)->at("id") == "d119");
    const auto absent = account.client->read("things", "shop", "absent");
    REQUIRE(absent);
    CHECK_FALSE(*absent);
    const auto elsewhere = account.client->read("things", "home \"\xC3\xA9\n", "d107");
    REQUIRE(elsewhere);
    CHECK_FALSE(*elsewhere);
    CHECK(account.client->request_units() > 5);
    const auto counts = account.fake.counts();
    CHECK(counts.without_partition == 0);
    CHECK(counts.unsigned_requests == 0);
    CHECK(counts.refused == 0);
}

TEST_CASE("a batch that fails in one operation changes nothing", "[cosmos]") {
    Account account;
    const auto first = account.client->batch("things", "shop", std::vector{document(Type::create, "a", 1)});
    REQUIRE(first);
    const auto before = account.fake.dump();
    struct Case {
        CosmosOperation operation;
        ErrorCode code;
    };
    for (const auto& [operation, code] :
         {Case{document(Type::create, "a", 2), ErrorCode::conflict},
          Case{document(Type::replace, "a", 2, "\"other\""), ErrorCode::conflict},
          Case{document(Type::replace, "absent", 2), ErrorCode::not_found},
          Case{CosmosOperation{Type::remove, "absent", {}, {}}, ErrorCode::not_found}}) {
        const auto failed =
            account.client->batch("things", "shop", std::vector{document(Type::upsert, "b", 1), operation});
        REQUIRE_FALSE(failed);
        CHECK(failed.error().code == code);
        CHECK(account.fake.dump() == before);
    }
    CHECK(account.client->batch("things", "shop", std::vector{document(Type::replace, "a", 2, first->at(0))}));
    CHECK(account.client->batch("things", "shop", std::vector{CosmosOperation{Type::remove, "a", {}, {}}}));
    CHECK(account.fake.counts().refused == 0);
}

TEST_CASE("whatever is worth a repetition is repeated, never within a window", "[cosmos]") {
    Account account;
    using enum CosmosFault;
    account.fake.fail_next({GENERATE(throttle, retry_with, timeout, unavailable, drop_before, part_fails), throttle});
    const auto before = account.fake.counts().requests;
    REQUIRE(account.client->batch("things", "shop", std::vector{document(Type::create, "a", 1)}));
    CHECK(account.fake.counts().requests == before + 3);
    CHECK(account.fake.counts().too_early == 0);
}

TEST_CASE("a batch whose answer was lost is a conflict the second time", "[cosmos]") {
    Account account;
    account.fake.fail_next({CosmosFault::drop_after});
    const auto lost = account.client->batch("things", "shop", std::vector{document(Type::create, "a", 1)});
    REQUIRE_FALSE(lost);
    CHECK(lost.error().code == ErrorCode::conflict);
    CHECK(account.fake.counts().batches == 1);
}

TEST_CASE("a batch of more than one request holds is refused before it is sent", "[cosmos]") {
    Account account;
    std::vector<CosmosOperation> many(101, document(Type::upsert, "a", 1));
    CHECK(account.client->batch("things", "shop", many).error().code == ErrorCode::invalid_argument);
    many.pop_back();
    CHECK(account.client->batch("things", "shop", many));
    auto large = document(Type::upsert, "a", 1);
    large.body = R"({"id":"a","project":"shop","text":")" + std::string(2'000'000, 'x') + "\"}";
    CHECK(account.client->batch("things", "shop", std::vector{large}).error().code == ErrorCode::invalid_argument);
    CHECK(account.client->batch("things", "shop", {}).error().code == ErrorCode::invalid_argument);
    CHECK(account.fake.counts().refused == 0);
}

TEST_CASE("a wrong key is refused once, and no error holds it", "[cosmos]") {
    Account account;
    CosmosOptions options;
    options.endpoint = account.fake.url();
    options.key = to_base64("canary");
    options.service = account.caller.options();
    auto other = CosmosClient::create(options);
    REQUIRE(other);
    const auto before = account.fake.counts().requests;
    const auto made = (*other)->make_database();
    REQUIRE_FALSE(made);
    CHECK(made.error().code == ErrorCode::unauthenticated);
    CHECK(account.fake.counts().requests == before + 1);
    CHECK(made.error().message.find(options.key) == std::string::npos);
    options.key = "not base64: canary";
    const auto refused = CosmosClient::create(options);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find("canary") == std::string::npos);
}

TEST_CASE("a container is made with its partition and vector policy, and found again", "[cosmos]") {
    Account account;
    const CosmosContainer wanted{
        .name = "vectors", .partition_path = "/project", .vector_path = "/embedding", .vector_dimension = 384};
    REQUIRE(account.client->make_container(wanted));
    REQUIRE(account.client->make_container(wanted));
    const auto made = account.fake.container("vectors");
    REQUIRE(made);
    CHECK(made->at("partitionKey").at("paths") == nlohmann::json{"/project"});
    const auto& vector = made->at("vectorEmbeddingPolicy").at("vectorEmbeddings").at(0);
    CHECK(vector.at("path") == "/embedding");
    CHECK(vector.at("dataType") == "float32");
    CHECK(vector.at("dimensions") == 384);
    CHECK(vector.at("distanceFunction") == "cosine");
    CHECK(made->at("indexingPolicy").at("vectorIndexes").at(0).at("type") == "diskANN");
    CHECK(made->at("indexingPolicy").at("excludedPaths").at(1).at("path") == "/embedding/*");
}

TEST_CASE("a connection is an endpoint, a key and a database", "[cosmos]") {
    const auto whole = parse_cosmos_connection("AccountEndpoint=https://a.example.com:443/;AccountKey=a2s=;");
    REQUIRE(whole);
    CHECK(whole->endpoint == "https://a.example.com:443/");
    CHECK(whole->key == "a2s=");
    CHECK(whole->database == "annal");
    const auto named = parse_cosmos_connection("accountendpoint=http://h;Database=d");
    REQUIRE(named);
    CHECK(named->database == "d");
    for (const auto* wrong : {"", "AccountKey=canary", "AccountEndpoint", "AccountEndpoint=http://h;Canary=canary",
                              "AccountEndpoint=http://h;Database="}) {
        const auto parsed = parse_cosmos_connection(wrong);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().code == ErrorCode::invalid_argument);
        CHECK(parsed.error().message.find("canary") == std::string::npos);
    }
}

}  // namespace
}  // namespace annal
