// What the Cosmos DB sink says to an account, said to another's server: databases and containers, documents, ETags,
// queries in pages. vercel_server.test.js starts that server, and says where it is.
// In a batch that server looks for the partition of all but a Create in the operation, where Cosmos DB has none, and
// for that of a query in its text.
#include "adapters/outbound/cosmos_client.h"

#include "adapters/json.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <cstdlib>

using namespace annal;

namespace {

using Type = CosmosOperation::Type;

std::unique_ptr<CosmosClient> open_client() {
    const char* const place = std::getenv("ANNAL_COSMOS_SERVER");
    if (place == nullptr) FAIL("ANNAL_COSMOS_SERVER says where the server is");
    CosmosOptions options;
    options.endpoint = place;
    options.key = "a2V5";
    auto client = CosmosClient::create(std::move(options));
    if (!client) FAIL(client.error().message);
    return *std::move(client);
}

std::string document(const std::string& id, const std::string& project, int n) {
    return to_text({{"id", id}, {"project", project}, {"type", "memory"}, {"n", n}});
}

}  // namespace

TEST_CASE("databases and containers are made once, with their policies") {
    const auto client = open_client();
    for (int i = 0; i < 2; ++i) {
        REQUIRE(client->make_database());
        const auto made = client->make_container(
            {.name = "memories", .partition_path = "/project", .vector_path = "/embedding", .vector_dimension = 3});
        if (!made) FAIL(made.error().message);
    }
}

TEST_CASE("documents come back as they were written, each in its partition") {
    const auto client = open_client();
    REQUIRE(client->make_database());
    REQUIRE(client->make_container({.name = "documents", .partition_path = "/project"}));
    const std::string project = "\xc3\xa9 \"\xe6\x97\xa5\"";
    const std::vector<CosmosOperation> both{{Type::create, "1", {}, document("1", project, 1)},
                                            {Type::create, "2", {}, document("2", project, 2)}};
    const auto written = client->batch("documents", project, both);
    if (!written) FAIL(written.error().message);
    const auto read = client->read("documents", project, "1");
    REQUIRE(read);
    REQUIRE(*read);
    CHECK((*read)->etag == written->at(0));
    CHECK((*read)->body->at("project") == project);
    CHECK((*read)->body->at("n") == 1);
    const auto nowhere = client->read("nowhere", project, "1");
    REQUIRE(nowhere);
    CHECK_FALSE(*nowhere);

    const auto again = client->batch("documents", project, std::span(both).first(1));
    REQUIRE_FALSE(again);
    CHECK(again.error().code == ErrorCode::conflict);
    CHECK(client->request_units() > 0);
}

TEST_CASE("a query gives all that answers, whatever its pages are") {
    constexpr int count = 1'250;
    const auto client = open_client();
    REQUIRE(client->make_database());
    REQUIRE(client->make_container({.name = "pages", .partition_path = "/project"}));
    for (int at = 0; at < count;) {
        std::vector<CosmosOperation> operations;
        for (; at < count && operations.size() < CosmosClient::operations_max; ++at) {
            const auto id = "m" + std::to_string(10'000 + at);
            operations.push_back({Type::create, id, {}, document(id, "shop", at)});
        }
        REQUIRE(client->batch("pages", "shop", operations));
    }
    const auto found = client->query("pages", "shop",
                                     {"SELECT * FROM c WHERE c.project = @project AND c.n < @n ORDER BY c.id",
                                      {{"@project", "\"shop\""}, {"@n", "1200"}}});
    if (!found) FAIL(found.error().message);
    REQUIRE(found->size() == 1'200);
    for (std::size_t i = 0; i < found->size(); ++i) REQUIRE(found->at(i)->at("n") == i);
}
