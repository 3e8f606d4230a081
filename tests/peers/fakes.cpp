// The fakes of tests/support behind real ports, for clients that are not ours. Its first line says where they are; then
// it does what it is told, a line each, and answers each with one. It ends with its input.
//   throttle N     the next N requests to Cosmos DB are refused with 429
//   counts         what the Cosmos DB counted
//   busy           the next request to the first of OpenAI's kind is refused with 429
//   vector TEXT    what an embedding server is to answer for it
#include "support/cosmos_fake.h"
#include "support/embedding_fake.h"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <iostream>
#include <string>

using namespace annal;
using namespace annal::testing;
using nlohmann::json;

int main() {
    CosmosFake cosmos(system_clock());
    EmbeddingFake ollama(Speaks::ollama), base64(Speaks::openai_base64), numbers(Speaks::openai_numbers);
    base64.accept_token("token");
    std::cout << json{{"cosmos", cosmos.url("127.0.0.1")},
                      {"cosmos_key", CosmosFake::key()},
                      {"ollama", ollama.url()},
                      {"openai_base64", base64.url()},
                      {"openai_numbers", numbers.url()}}
              << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        const auto space = line.find(' ');
        const auto word = line.substr(0, space);
        const auto rest = space == std::string::npos ? std::string() : line.substr(space + 1);
        json answer{{"done", true}};
        if (word == "throttle") {
            const int times = std::atoi(rest.c_str());
            cosmos.fail_by([times](int number) { return number <= times ? CosmosFault::throttle : CosmosFault::none; });
        } else if (word == "counts") {
            const auto counts = cosmos.counts();
            answer = {{"requests", counts.requests},   {"unsigned", counts.unsigned_requests},
                      {"refused", counts.refused},     {"without_partition", counts.without_partition},
                      {"too_early", counts.too_early}, {"batches", counts.batches}};
        } else if (word == "busy") {
            base64.fail_with({{.status = 429, .body = "{}", .headers = {{"retry-after-ms", "5"}}}});
        } else if (word == "vector") {
            answer = EmbeddingFake::vector_of(rest);
        } else {
            answer = {{"unknown", word}};
        }
        std::cout << answer << std::endl;
    }
    return 0;
}
