// What `audit` prints, an auditor without the store can check.
#include "cli.h"

using annal::testing::Cli;
using annal::testing::Json;
using annal::testing::Ran;

namespace {

class Auditor {
 public:
    Cli cli;

    std::string print(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), {"--store", cli.store().string(), "--project", "default", "audit"});
        const auto ran = cli.run(arguments);
        INFO(ran.err);
        REQUIRE(ran.code == 0);
        return ran.out;
    }
    Ran verify(std::vector<std::string> words, const std::string& key) const {
        words.insert(words.end(), {"--key", key.substr(0, key.find('\n'))});
        return cli.run(words, "", VERIFY_PROOF_BINARY);
    }
    std::string file(const std::string& name, const std::string& text) const { return cli.write_file(name, text); }
};

}  // namespace

TEST_CASE("an auditor checks a memory's event and the log's growth from files alone", "[tools][audit]") {
    const Auditor auditor;
    const auto& cli = auditor.cli;
    const auto first = cli.remember("one");
    const auto key = auditor.print({"keys"});
    const auto monday = auditor.file("monday", auditor.print({"head"}));
    for (int i = 0; i < 5; ++i) cli.remember("another");
    REQUIRE(cli({"revise", first, "--content", "one, revised"}).code == 0);
    const auto now = auditor.file("now", auditor.print({"head"}));

    CHECK(auditor.verify({"inclusion", now, auditor.file("proof", auditor.print({"prove", first}))}, key).code == 0);
    const auto old = auditor.file("proof", auditor.print({"prove", first, "--version", "1", "--size", "1"}));
    CHECK(auditor.verify({"inclusion", monday, old}, key).code == 0);
    CHECK(auditor.verify({"inclusion", now, old}, key).code == 1);  // It is a proof for the older head.
    const auto growth = auditor.file("growth", auditor.print({"consistency", "1", "7"}));
    CHECK(auditor.verify({"consistency", monday, now, growth}, key).code == 0);
    CHECK(auditor.verify({"consistency", now, monday, growth}, key).code == 1);

    const Auditor other;  // Another store has another key and another origin.
    other.cli.remember("one");
    const auto foreign = other.file("head", other.print({"head"}));
    CHECK(auditor.verify({"inclusion", foreign, old}, key).code == 1);
    CHECK(other.print({"keys"}) != key);
    CHECK(auditor.print({"keys"}) == key);
}

TEST_CASE("audit says as JSON what it says as text, and what cannot be proved", "[tools][audit]") {
    const Auditor auditor;
    const auto& cli = auditor.cli;
    const auto id = cli.remember("one");
    const Json head = cli({"audit", "head"}).json();
    CHECK(head["size"] == 1);
    CHECK(head["head"] == auditor.print({"head"}));
    CHECK(cli({"audit", "keys"}).json()["key"].get<std::string>() + '\n' == auditor.print({"keys"}));
    const Json proof = cli({"audit", "prove", id}).json();
    CHECK(proof["seq"] == 1);
    CHECK(proof["proof"] == auditor.print({"prove", id}));

    CHECK(cli({"audit", "prove", id, "--version", "2"}).error()["code"] == "not_found");
    CHECK(cli({"audit", "prove", id, "--size", "2"}).error()["code"] == "invalid_argument");
    CHECK(cli({"--project", "other", "audit", "prove", id}).error()["code"] == "not_found");
    CHECK(cli({"audit", "consistency", "0", "1"}).error()["code"] == "invalid_argument");
    CHECK(cli({"audit", "consistency", "1", "2"}).error()["details"]["head"] == "1");
    CHECK(cli({"audit"}).error()["code"] == "invalid_argument");
}

TEST_CASE("a signing key that others can read, or that is damaged, is refused with the reason", "[tools][audit]") {
    const Cli cli;
    cli.remember("one");
    const auto key = cli.store() / "keys" / "log_signing_key";
    using std::filesystem::perms;
    CHECK(std::filesystem::status(key).permissions() == (perms::owner_read | perms::owner_write));
    std::filesystem::permissions(key, perms::group_read, std::filesystem::perm_options::add);
    CHECK(cli({"status"}).error()["code"] == "permission_denied");
    std::filesystem::permissions(key, perms::owner_read | perms::owner_write);
    CHECK(cli({"status"}).code == 0);
    std::ofstream(key) << "not a key\n";
    CHECK(cli({"status"}).error()["code"] == "data_loss");
    std::filesystem::remove(key);
    CHECK(cli({"status"}).code == 0);
}
