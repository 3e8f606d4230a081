// annal-verify-proof as those run it who have no store: on files.
#include "events/signed_head.h"
#include "note_text.h"
#include "tools/cli.h"
#include "trees.h"

#include <tree_proof.h>

#include <openssl/evp.h>

using namespace annal;
using namespace annal::testing;

namespace {

std::string base64(const Hash& hash) {
    std::string text(45, '\0');
    EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), hash.data(), static_cast<int>(hash.size()));
    text.pop_back();
    return text;
}

std::string lines(const Path& path) {
    std::string text;
    for (const auto& hash : path) text += base64(hash) + "\n";
    return text;
}

class Auditor {
 public:
    explicit Auditor(std::uint64_t size) {
        for (std::uint64_t i = 0; i < size; ++i)
            tree.append(event_hash(Seq{i + 1}, recorded_at(i + 1), Version{i % 3 + 1}, body(i + 1)));
    }
    StoredTree tree;
    Cli files;

    static Timestamp recorded_at(std::uint64_t seq) { return {1763700000000000 + static_cast<std::int64_t>(seq)}; }
    static Hash body(std::uint64_t seq) { return sha256("body " + std::to_string(seq)); }
    static SigningKey key(std::uint8_t number = 1) {
        SigningKey::Seed seed{};
        seed[0] = number;
        auto made = SigningKey::from_seed(origin, seed);
        REQUIRE(made);
        return std::move(*made);
    }

    std::string head(std::uint64_t size, const std::string& of = origin) const {
        return *sign_head(TreeHead{of, size, tree.roots[size], {}}, key());
    }
    std::string inclusion(std::uint64_t seq, std::uint64_t size) const {
        return "annal inclusion proof v1\nseq " + std::to_string(seq) + "\nsize " + std::to_string(size) +
               "\nrecorded_at " + std::to_string(recorded_at(seq).us) + "\nversion " +
               std::to_string((seq - 1) % 3 + 1) + "\nbody " + base64(body(seq)) + "\n" +
               lines(*inclusion_proof(seq - 1, size, tree.reader(size)));
    }
    std::string consistency(std::uint64_t size1, std::uint64_t size2) const {
        return "annal consistency proof v1\nold_size " + std::to_string(size1) + "\nnew_size " + std::to_string(size2) +
               "\n" + lines(*consistency_proof(size1, size2, tree.reader(size2)));
    }

    Ran check_inclusion(const std::string& head_text, const std::string& proof,
                        std::vector<std::string> more = {}) const {
        return run({"inclusion", files.write_file("head", head_text), files.write_file("proof", proof)}, more);
    }
    Ran check_consistency(const std::string& older, const std::string& newer, const std::string& proof) const {
        return run({"consistency", files.write_file("older", older), files.write_file("newer", newer),
                    files.write_file("proof", proof)},
                   {});
    }
    Ran run(std::vector<std::string> words, std::vector<std::string> more) const {
        if (more.empty() || more[0] != "--key") words.insert(words.end(), {"--key", key().verifier().text()});
        words.insert(words.end(), more.begin(), more.end());
        return files.run(words);
    }
};

bool verified(const Ran& ran) {
    INFO(ran.out << ran.err);
    CHECK((ran.code == 0) == ran.out.starts_with("verified: "));
    CHECK((ran.code == 0) == ran.err.empty());
    return ran.code == 0;
}

// Refused for the reason that holds these words.
bool refused(const Ran& ran, const std::string& words) {
    INFO(ran.out << ran.err);
    CHECK(ran.code == 1);
    CHECK(ran.out.empty());
    CHECK(ran.err.find(words) != std::string::npos);
    return ran.code == 1 && ran.err.starts_with("annal-verify-proof: REFUSED: ");
}

}  // namespace

TEST_CASE("the verifier's leaf hash is the log's event hash", "[verify_proof]") {
    const verify_proof::Event event{0x0102030405060708, 1763700000123456, 77, sha256("body")};
    CHECK(verify_proof::leaf_hash(event) ==
          event_hash(Seq{0x0102030405060708}, Timestamp{1763700000123456}, Version{77}, sha256("body")));
}

TEST_CASE("the verifier accepts every event of a log, and its growth", "[verify_proof]") {
    const Auditor auditor(11);
    for (std::uint64_t seq = 1; seq <= 11; ++seq) {
        const auto ran = auditor.check_inclusion(auditor.head(11), auditor.inclusion(seq, 11));
        CHECK(verified(ran));
        CHECK(ran.out.find("event " + std::to_string(seq) + ",") != std::string::npos);
    }
    CHECK(verified(auditor.check_inclusion(auditor.head(1), auditor.inclusion(1, 1))));
    for (std::uint64_t size = 1; size <= 11; ++size)
        CHECK(verified(auditor.check_consistency(auditor.head(size), auditor.head(11), auditor.consistency(size, 11))));
}

TEST_CASE("the verifier refuses an inclusion that is not so, and says why", "[verify_proof]") {
    const Auditor auditor(11);
    const std::string head = auditor.head(11), proof = auditor.inclusion(6, 11);
    const auto refuses = [&](const std::string& head_text, const std::string& proof_text, const std::string& words) {
        return refused(auditor.check_inclusion(head_text, proof_text), words);
    };
    CHECK(refuses(head, replaced(proof, "seq 6", "seq 5"), "does not lead"));
    CHECK(refuses(head, replaced(proof, "version 3", "version 4"), "does not lead"));
    CHECK(refuses(head, replaced(proof, "recorded_at 17", "recorded_at 18"), "does not lead"));
    CHECK(refuses(head, replaced(proof, base64(Auditor::body(6)), base64(Auditor::body(7))), "does not lead"));
    CHECK(refuses(head, proof + base64({}) + "\n", "does not lead"));
    CHECK(refuses(head, proof.substr(0, proof.size() - 45), "does not lead"));
    CHECK(refuses(head, replaced(proof, "seq 6", "seq 0"), "no event 0"));
    CHECK(refuses(head, replaced(proof, "seq 6", "seq 12"), "no event 12"));
    CHECK(refuses(head, replaced(proof, "size 11", "size 10"), "for a log of 10"));
    CHECK(refuses(auditor.head(10), proof, "for a log of 11"));
    CHECK(refuses(head, replaced(proof, "v1", "v2"), "line 1"));
    CHECK(refuses(head, replaced(proof, "seq 6", "seq 06"), "line 2"));
    CHECK(refuses(head, replaced(proof, "seq 6", "seq -6"), "line 2"));
    CHECK(refuses(head, replaced(proof, "size 11", "size 11 "), "line 3"));
    CHECK(refuses(head, replaced(proof, "body ", "body  "), "line 6"));
    CHECK(refuses(head, proof + "\n", "is not a hash"));
    CHECK(refuses(head, proof.substr(0, proof.size() - 1), "newline"));
    CHECK(refuses(head, "", "newline"));
    CHECK(refuses(head, "annal inclusion proof v1\n", "ends where"));
    CHECK(refuses(head, std::string(2 << 20, 'x'), "1 MiB"));

    CHECK(refuses(replaced(head, "\n11\n", "\n12\n"), proof, "not what the key signed"));
    CHECK(refuses(auditor.head(11, "example.com/other"), proof, "another log"));
    CHECK(refuses(*sign_head(TreeHead{origin, 11, auditor.tree.roots[11], {}}, Auditor::key(2)), proof, "not signed"));
    CHECK(refuses(head.substr(0, head.rfind("\n\n")), proof, "not a checkpoint"));
    CHECK(refuses(head + "x\n", proof, "em dash"));
    CHECK(refuses(proof, head, "not a checkpoint"));
}

TEST_CASE("the verifier refuses a proof with any byte changed", "[verify_proof]") {
    const Auditor auditor(3);
    const std::string head = auditor.head(3), proof = auditor.inclusion(2, 3);
    for (std::size_t i = 0; i < proof.size(); i += 3) {
        INFO("byte " << i);
        std::string changed = proof;
        changed[i] = static_cast<char>(changed[i] ^ 0x01);
        CHECK(auditor.check_inclusion(head, changed).code == 1);
    }
}

TEST_CASE("the verifier refuses a log that was rolled back, forked or rewritten", "[verify_proof]") {
    const Auditor auditor(11);
    const std::string proof = auditor.consistency(6, 11);
    const auto refuses = [&](const std::string& older, const std::string& newer, const std::string& proof_text,
                             const std::string& words) {
        return refused(auditor.check_consistency(older, newer, proof_text), words);
    };
    const auto forged = [&](std::uint64_t size) {  // Signed by the log itself, of another past.
        return *sign_head(TreeHead{origin, size, sha256("another past"), {}}, Auditor::key());
    };
    CHECK(refuses(auditor.head(11), auditor.head(6), proof, "rolled back"));
    CHECK(refuses(forged(6), auditor.head(11), proof, "the past was changed"));
    CHECK(refuses(auditor.head(6), forged(11), proof, "the past was changed"));
    CHECK(refuses(auditor.head(6), forged(6), auditor.consistency(6, 6), "the past was changed"));
    CHECK(refuses(auditor.head(5), auditor.head(11), proof, "for logs of 6 and 11"));
    CHECK(refuses(auditor.head(6), auditor.head(11), auditor.consistency(6, 10), "for logs of 6 and 10"));
    CHECK(refuses(auditor.head(0), auditor.head(11), "annal consistency proof v1\nold_size 0\nnew_size 11\n", "empty"));
    CHECK(refuses(auditor.head(6), auditor.head(11), proof + base64({}) + "\n", "does not lead"));
    CHECK(refuses(auditor.head(6), auditor.head(11), auditor.inclusion(6, 11), "line 1"));
    CHECK(refuses(auditor.head(6), auditor.head(11, "example.com/other"), proof, "another log"));
}

TEST_CASE("the verifier says how it is used, and what of a command it cannot use", "[verify_proof]") {
    const Auditor auditor(3);
    const std::string vkey = Auditor::key().verifier().text();
    const auto help = auditor.files.run({"--help"});
    CHECK(help.code == 0);
    CHECK(help.out.find("annal-verify-proof inclusion head.txt event-42.proof --key") != std::string::npos);
    const auto unusable = [&](const std::vector<std::string>& words, const std::string& why) {
        const auto ran = auditor.files.run(words);
        INFO(ran.out << ran.err);
        return ran.code == 2 && ran.out.empty() && ran.err.find(why) != std::string::npos;
    };
    CHECK(unusable({}, "--help"));
    CHECK(unusable({"exclusion"}, "--help"));
    CHECK(unusable({"inclusion", "a", "--key", vkey}, "takes 2 files"));
    CHECK(unusable({"consistency", "a", "b", "--key", vkey}, "takes 3 files"));
    CHECK(unusable({"inclusion", "a", "b"}, "Give --key"));
    CHECK(unusable({"inclusion", "a", "b", "--key"}, "needs a value"));
    CHECK(unusable({"inclusion", "a", "b", "--key", vkey, "--key", vkey}, "twice"));
    CHECK(unusable({"inclusion", "a", "b", "--kye", vkey}, "--kye"));
    CHECK(unusable({"inclusion", "a", "b", "--key", "a+b"}, "NAME+ID"));
    CHECK(unusable({"inclusion", "a", "b", "--key", "x" + vkey}, "copied wrong"));
    CHECK(unusable({"inclusion", auditor.files.directory() / "none", "b", "--key", vkey}, "cannot read"));
    CHECK(unusable({"inclusion", auditor.files.directory(), "b", "--key", vkey}, "cannot read"));

    const auto other = auditor.head(3, "example.com/other");
    CHECK(verified(auditor.check_inclusion(other, auditor.inclusion(2, 3), {"--origin", "example.com/other"})));
}
