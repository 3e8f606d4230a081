// --embedder and reembed, against embedding servers that are fakes.
#include "cli.h"

#include "support/embedding_fake.h"

#include <sys/stat.h>

#include <algorithm>

using namespace annal::testing;

namespace {

const std::string key = "sk-key-of-the-test";

std::string ollama(const EmbeddingFake& fake, const std::string& model = "tiny") {
    return "ollama:" + model + "@" + fake.url();
}
std::string openai(const EmbeddingFake& fake, const std::string& model = "tiny") {
    return "openai:" + model + "@" + fake.url();
}

// What the first hit of a search by vector says; its similarity has to be that of the same text.
std::string first_by_vector(const Cli& cli, const std::string& text, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"search", text, "--mode", "vector"});
    const Json answer = cli(more).json();
    REQUIRE_FALSE(answer["hits"].empty());
    CHECK(answer["degraded"].empty());
    CHECK(answer["hits"][0]["parts"]["similarity"].get<double>() > 0.999);
    return answer["hits"][0]["memory"]["content"];
}

std::string all_files_of(const std::filesystem::path& directory) {
    std::string all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
        if (entry.is_regular_file()) all += read_file(entry.path());
    return all;
}

Json model_named(const Json& reembed, const std::string& name) {
    for (const auto& model : reembed["models"])
        if (model["model"] == name) return model;
    FAIL("no such model: " << name << " in " << reembed.dump());
    return {};
}

// Thirty memories, embedded by "tiny".
struct EmbeddedCli {
    EmbeddingFake old_model{Speaks::ollama};
    Cli cli;
    EmbeddedCli() {
        std::string lines;
        for (int i = 0; i < 30; ++i) lines += R"({"content":"memory number )" + std::to_string(i) + "\"}\n";
        REQUIRE(cli({"import", "-", "--embedder", ollama(old_model)}, lines).code == 0);
        CHECK(old_model.texts_asked() == 31);  // One to find out their dimension.
    }
};

}  // namespace

TEST_CASE("a store remembers the model it was given, and where its key is, but never the key", "[tools][embedder]") {
    EmbeddingFake fake(Speaks::openai_base64);
    fake.accept_token(key);
    Cli cli;
    cli.environment = {"TEST_EMBED_KEY=" + key};
    cli.remember("likes tea", {"--embedder", openai(fake), "--embedder-key-env", "TEST_EMBED_KEY"});
    cli.remember("likes rain");
    CHECK(fake.texts_asked() == 1);  // Its dimension; a write asks for nothing more.
    CHECK(first_by_vector(cli, "likes rain") == "likes rain");
    const Json status = cli({"status"}).json()["embeddings"][0];
    CHECK(status["model"] == "tiny");
    CHECK(status["dimension"] == EmbeddingFake::dimension);
    CHECK(status["active"] == true);
    CHECK(status["coverage_percent"] == 100.0);

    const auto file = cli.store() / "embedders.json";
    struct stat about {};
    REQUIRE(stat(file.c_str(), &about) == 0);
    CHECK((about.st_mode & 0777) == 0600);
    CHECK(read_file(file).find("TEST_EMBED_KEY") != std::string::npos);

    // The variable is gone: text is found, and the answer says what is missing.
    cli.environment = {};
    const auto text_only = cli({"search", "likes rain"});
    const Json answer = text_only.json();
    CHECK(answer["hits"][0]["memory"]["content"] == "likes rain");
    CHECK(answer["degraded"].dump().find("TEST_EMBED_KEY") != std::string::npos);

    // From a file, from then on.
    const auto key_file = cli.write_file("key", key + "\n");
    CHECK(first_by_vector(cli, "likes tea", {"--embedder", openai(fake), "--embedder-key-file", key_file.string()}) ==
          "likes tea");
    CHECK(first_by_vector(cli, "likes tea") == "likes tea");
    CHECK(first_by_vector(cli, "likes tea", {"--embedder", openai(fake)}) == "likes tea");
    CHECK(read_file(file).find("TEST_EMBED_KEY") == std::string::npos);
    CHECK(all_files_of(cli.store()).find(key) == std::string::npos);
}

TEST_CASE("a model is asked by those commands alone that need its vectors, and not at all with none",
          "[tools][embedder]") {
    EmbeddedCli it;
    const auto before = it.old_model.request_count();
    const auto id = it.cli.remember("something new");
    CHECK(it.cli({"get", id}).code == 0);
    CHECK(it.cli({"list"}).code == 0);
    CHECK(it.cli({"history", id}).code == 0);
    CHECK(it.cli({"log"}).code == 0);
    CHECK(it.cli({"verify"}).code == 0);
    CHECK(it.cli({"search", "something", "--embedder", "none"}).code == 0);
    CHECK(it.old_model.request_count() == before);
    CHECK(first_by_vector(it.cli, "something new") == "something new");
    CHECK(it.old_model.texts_asked() == 31 + 1 + 1);  // The new memory and the query.
    std::string checks;
    const Json verified = it.cli({"verify"}).json();
    for (const auto& check : verified["checks"]) checks += check["name"].get<std::string>() + " ";
    CHECK(checks.find("embeddings.files embeddings.rows ") != std::string::npos);
}

TEST_CASE("an embedder that is none is refused, saying what is wrong, how it is right, and nothing secret",
          "[tools][embedder]") {
    EmbeddingFake fake(Speaks::ollama);
    const std::string example = "ollama:nomic-embed-text@http://localhost:11434";
    struct Wrong {
        std::vector<std::string> flags;
        std::string said;
    };
    const std::vector<Wrong> all{
        {{"--embedder", "oracle"}, "no such type"},
        {{"--embedder", "oracle:m@http://h"}, "no such type"},
        {{"--embedder", "ollama:m"}, "URL"},
        {{"--embedder", "ollama:@http://h"}, "name is missing"},
        {{"--embedder", "ollama:m@http://"}, "http://"},
        {{"--embedder", "ollama:m@ftp://h"}, "URL"},
        {{"--embedder", "openai:m@https://user:" + key + "@h/v1"}, "URL must be"},
        {{"--embedder", "openai:m@https://h/v1?key=" + key}, "URL must be"},
    };
    for (const auto& [flags, said] : all) {
        CAPTURE(flags.back());
        Cli cli;
        std::vector<std::string> command{"remember", "x"};
        command.insert(command.end(), flags.begin(), flags.end());
        const auto error = cli(command).error();
        CHECK(error["code"] == "invalid_argument");
        CHECK(error["details"]["field"] == "--embedder");
        const std::string message = error["message"];
        CHECK(message.find(said) != std::string::npos);
        CHECK(message.find(example) != std::string::npos);
        CHECK(error.dump().find(key) == std::string::npos);
        CHECK_FALSE(std::filesystem::exists(cli.store()));
    }
    Cli cli;
    const auto refused = [&](std::vector<std::string> flags) {
        flags.insert(flags.begin(), {"remember", "x"});
        const auto error = cli(flags).error();
        CHECK(error["code"] == "invalid_argument");
        CHECK(error.dump().find(key) == std::string::npos);
        return error["message"].get<std::string>();
    };
    // A key where its name belongs is not stored.
    CHECK(refused({"--embedder", ollama(fake), "--embedder-key-env", key}).find("name of one") != std::string::npos);
    CHECK(refused({"--embedder", ollama(fake), "--embedder-key-file", key}).find("name of one") != std::string::npos);
    CHECK(refused({"--embedder-key-file", key}).find("name it, too") != std::string::npos);
    CHECK(refused({"--embedder", "hashing", "--embedder-key-env", "HOME", "--embedder-key-file", "x"})
              .find("one of it") != std::string::npos);
    CHECK(refused({"--embedder", ollama(fake), "--embedder-dimension", "5000"}).find("1 to 4096") != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(cli.store()));

    EmbeddedCli it;
    const auto other = it.cli({"search", "x", "--embedder", "ollama:other@http://127.0.0.1:9"}).error();
    CHECK(other["code"] == "invalid_argument");
    CHECK(other["message"].get<std::string>().find("`annal reembed --to`") != std::string::npos);
    CHECK(it.cli({"search", "x", "--embedder", ollama(it.old_model), "--embedder-dimension", "9"}).error()["code"] ==
          "invalid_argument");
}

TEST_CASE("a model that is down is named without asking it, hinders no write, and is asked later",
          "[tools][embedder]") {
    EmbeddingFake fake(Speaks::ollama);
    fake.fail_with(std::deque<FakeAnswer>(10'000, {.fault = Fault::drop}));
    Cli cli;
    const auto unknown = cli({"remember", "likes tea", "--embedder", ollama(fake)}).error();
    CHECK(unknown["code"] == "unavailable");
    CHECK(unknown["message"].get<std::string>().find("--embedder-dimension") != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(cli.store()));

    cli.remember("likes tea", {"--embedder", ollama(fake), "--embedder-dimension", "8"});
    const Json answer = cli({"search", "likes tea"}).json();
    CHECK(answer["hits"].size() == 1);
    CHECK(answer["degraded"].size() == 2);
    CHECK(answer.dump().find("broke before the whole answer") != std::string::npos);
    fake.fail_with({});
    CHECK(first_by_vector(cli, "likes tea") == "likes tea");
}

TEST_CASE("a file of embedders that others may write, or that is damaged, is not believed", "[tools][embedder]") {
    EmbeddedCli it;
    const auto file = it.cli.store() / "embedders.json";
    const auto text = read_file(file);
    REQUIRE(chmod(file.c_str(), 0620) == 0);
    CHECK(it.cli({"search", "x"}).error()["code"] == "permission_denied");
    REQUIRE(chmod(file.c_str(), 0600) == 0);
    auto other_active = text, no_dimension = text;
    other_active.replace(other_active.find("\"tiny\""), 6, "\"else\"");
    no_dimension.replace(no_dimension.find("\"dimension\": 8"), 14, "\"dimension\": 0");
    for (const auto& damaged : {std::string(), std::string("{"), std::string("[]"), other_active, no_dimension}) {
        CAPTURE(damaged);
        std::ofstream(file, std::ios::binary | std::ios::trunc) << damaged;
        const auto error = it.cli({"search", "x"}).error();
        CHECK(error["code"] == "data_loss");
        CHECK(error["message"].get<std::string>().find("embedders.json") != std::string::npos);
    }
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
    CHECK(first_by_vector(it.cli, "memory number 7") == "memory number 7");
}

TEST_CASE("another model is filled beside the active one, compared, switched to, left again and dropped",
          "[tools][embedder][reembed]") {
    EmbeddedCli it;
    EmbeddingFake next(Speaks::openai_base64, "small", "other vectors ");
    const auto& cli = it.cli;
    Json models = cli({"reembed"}).json();
    CHECK(models["active"] == "tiny");
    REQUIRE(models["models"].size() == 1);
    CHECK(model_named(models, "tiny")["embedder"] == ollama(it.old_model));
    CHECK(cli({"reembed", "--switch"}).error()["code"] == "invalid_argument");
    CHECK(cli({"reembed", "--compare"}).error()["code"] == "invalid_argument");
    CHECK(cli({"reembed", "--back"}).error()["code"] == "invalid_argument");

    models = cli({"reembed", "--to", openai(next, "small")}).json();
    CHECK(models["active"] == "tiny");
    CHECK(model_named(models, "small")["state"] == "beside");
    CHECK(model_named(models, "small")["coverage_percent"] == 100.0);
    CHECK(next.texts_asked() == 31);
    CHECK(it.old_model.texts_asked() == 31);  // What it said is kept.
    const auto asked = next.request_count();
    CHECK(first_by_vector(cli, "memory number 3") == "memory number 3");
    CHECK(next.request_count() == asked);  // The old one answers.

    const Json compared = cli({"reembed", "--compare", "--sample", "20", "--seed", "7"}).json();
    CHECK(compared["old"] == "tiny");
    CHECK(compared["new"] == "small");
    CHECK(compared["queries"] == 20);
    CHECK(compared["seed"] == 7);
    CHECK(compared["overlap_at_10"].get<double>() > 0.09);  // The memory itself is among both.
    CHECK(compared["overlap_at_10"].get<double>() < 0.8);
    CHECK(compared["degraded"].empty());
    CHECK(cli({"reembed", "--compare", "--sample", "20", "--seed", "7"}).json() == compared);
    CHECK(cli({"reembed", "--compare", "--sample", "20", "--seed", "8"}).json() != compared);
    const auto file = cli.write_file("queries", "memory number 3\n\nmemory number 4\r\n");
    const Json of_file = cli({"reembed", "--compare", "--queries", file.string()}).json();
    CHECK(of_file["queries"] == 2);
    CHECK(of_file["least"].size() == 2);
    CHECK_FALSE(of_file.contains("seed"));
    const auto said = cli.run({"--store", cli.store().string(), "reembed", "--compare", "--sample", "3"});
    CHECK(said.out.find("overlap@10 ") != std::string::npos);
    CHECK(said.err.empty());

    models = cli({"reembed", "--switch"}).json();
    CHECK(models["active"] == "small");
    CHECK(models["former"] == "tiny");
    auto before = it.old_model.request_count();
    CHECK(first_by_vector(cli, "memory number 3") == "memory number 3");
    CHECK(it.old_model.request_count() == before);
    cli.remember("written after the switch");
    CHECK(first_by_vector(cli, "written after the switch") == "written after the switch");

    models = cli({"reembed", "--back"}).json();
    CHECK(models["active"] == "tiny");
    before = next.request_count();
    CHECK(first_by_vector(cli, "written after the switch") == "written after the switch");  // It was filled beside.
    CHECK(next.request_count() == before);

    CHECK(cli({"reembed", "--drop", "tiny"}).error()["code"] == "invalid_argument");
    CHECK(cli({"reembed", "--drop", "large"}).error()["code"] == "not_found");
    models = cli({"reembed", "--drop", "small"}).json();
    CHECK(models["models"].size() == 1);
    CHECK(models["former"] == "");
    CHECK(cli({"reembed", "--drop", "small"}).error()["code"] == "not_found");
    CHECK(first_by_vector(cli, "memory number 3") == "memory number 3");
    models = cli({"reembed", "--drop", "tiny"}).json();  // The only one: the store has none then.
    CHECK(models["models"].empty());
    CHECK(cli({"search", "memory number 3"}).json()["degraded"].empty());
    CHECK(cli({"search", "memory number 3", "--mode", "vector"}).error()["code"] == "invalid_argument");
}

TEST_CASE("two models that say the same answer the same", "[tools][embedder][reembed]") {
    EmbeddedCli it;
    EmbeddingFake same(Speaks::openai_numbers, "same");
    REQUIRE(it.cli({"reembed", "--to", openai(same, "same")}).code == 0);
    const Json compared = it.cli({"reembed", "--compare", "--sample", "100"}).json();
    CHECK(compared["queries"] == 30);
    CHECK(compared["overlap_at_10"] == 1.0);
    CHECK(compared["overlap_at_10_hybrid"] == 1.0);
}

TEST_CASE("a new model that is cut off is gone on with, and not switched to before it has all",
          "[tools][embedder][reembed]") {
    EmbeddedCli it;
    EmbeddingFake next(Speaks::openai_base64, "small", "other vectors ");
    next.fail_with(std::deque<FakeAnswer>(100'000, {.status = 500}));
    const auto& cli = it.cli;
    const auto down =
        cli({"reembed", "--wait", "2", "--to", openai(next, "small"), "--embedder-dimension", "8"}).error();
    CHECK(down["code"] == "unavailable");
    CHECK(down["message"].get<std::string>().find("HTTP 500") != std::string::npos);
    CHECK(down["details"]["lag_events"] == "30");
    CHECK(first_by_vector(cli, "memory number 3") == "memory number 3");
    CHECK(cli({"reembed", "--switch", "--wait", "2"}).error()["code"] == "unavailable");
    Json models = cli({"reembed"}).json();
    CHECK(models["active"] == "tiny");
    CHECK(model_named(models, "small")["coverage_percent"] == 0.0);

    next.fail_with({});
    models = cli({"reembed", "--fill"}).json();
    CHECK(model_named(models, "small")["coverage_percent"] == 100.0);
    CHECK(next.texts_asked() == 30);
    CHECK(cli({"reembed", "--fill"}).code == 0);
    CHECK(next.texts_asked() == 30);
    CHECK(cli({"reembed", "--switch"}).json()["active"] == "small");
}

TEST_CASE("a reembed that is told two things, or what is another command's, is refused", "[tools][embedder][reembed]") {
    EmbeddedCli it;
    const std::vector<std::vector<std::string>> all{
        {"reembed", "--switch", "--back"},
        {"reembed", "--fill", "--drop", "tiny"},
        {"reembed", "--embedder", "hashing"},
        {"reembed", "--embedder-dimension", "8"},
        {"reembed", "--to", "oracle"},
        {"reembed", "--to", "none"},
        {"reembed", "--compare", "--sample", "0"},
        {"reembed", "--switch", "--model", "tiny"},
    };
    for (const auto& command : all) {
        CAPTURE(command);
        CHECK(it.cli(command).error()["code"] == "invalid_argument");
    }
    CHECK(it.cli({"reembed", "--switch", "--model", "huge"}).error()["code"] == "not_found");
    Cli none;
    CHECK(none({"reembed"}).error()["code"] == "not_found");
    CHECK(none({"reembed", "--to", "hashing"}).error()["code"] == "not_found");
}
