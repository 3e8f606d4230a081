#include "events/signed_head.h"
#include "note_text.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace annal;
using namespace annal::testing;

namespace {

SigningKey key_of(std::uint8_t number, const std::string& name = origin) {
    SigningKey::Seed seed{};
    seed[0] = number;
    auto key = SigningKey::from_seed(name, seed);
    REQUIRE(key);
    return std::move(*key);
}

const TreeHead head{origin, 4711, sha256("root"), {}};

std::string signature_line(const std::string& note) {
    return note.substr(note.rfind("\n\n") + 2);
}

std::string reason(const Result<TreeHead>& result) {
    if (result) return "verified";
    CHECK(result.error().code == ErrorCode::invalid_argument);
    return result.error().details.at("reason");
}

}  // namespace

TEST_CASE("a public log's checkpoint is verified with its public key", "[signed_head]") {
    const std::string note =
        "go.sum database tree\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— sum.golang.org "
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    const std::string vkey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    const auto key = VerifierKey::parse(vkey);
    REQUIRE(key);
    CHECK(key->text() == vkey);
    const auto verified = verify_head(note, "go.sum database tree", *key);
    REQUIRE(verified);
    CHECK(verified->size == 20852163);
    CHECK(reason(verify_head(replaced(note, "20852163", "20852164"), "go.sum database tree", *key)) == "signature");
}

TEST_CASE("a key signs as RFC 8032's first test vector does", "[signed_head]") {
    const auto bytes = [](std::string_view hex) {
        std::string result;
        for (std::size_t i = 0; i < hex.size(); i += 2)
            result.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
        return result;
    };
    SigningKey::Seed seed;
    std::ranges::copy(bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"), seed.begin());
    const auto key = SigningKey::from_seed("rfc", seed);
    REQUIRE(key);
    const auto signature = key->sign("");
    REQUIRE(signature);
    CHECK(*signature ==
          bytes("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
                "f9b46bd25bf5f0595bbe24655141438e7a100b"));
    CHECK(key->verifier().verifies("", *signature));
}

TEST_CASE("a signed head is read back by whoever has the public key", "[signed_head]") {
    const auto seed = SigningKey::new_seed();
    REQUIRE(seed);
    CHECK(*seed != *SigningKey::new_seed());
    const auto key = SigningKey::from_seed(origin, *seed);
    REQUIRE(key);
    const auto verifier = VerifierKey::parse(key->verifier().text());
    REQUIRE(verifier);
    CHECK(*verifier == key->verifier());

    const std::vector<std::vector<std::string>> extensions = {
        {}, {"epoch 3"}, {"epoch 3", "— not a signature +", "ä\u3000"}};
    for (const auto& lines : extensions) {
        for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0} >> 1}) {
            const TreeHead any{origin, size, sha256("root"), lines};
            const auto note = sign_head(any, *key);
            REQUIRE(note);
            const auto verified = verify_head(*note, origin, *verifier);
            REQUIRE(verified);
            CHECK(*verified == any);
        }
    }
}

TEST_CASE("a signed head with any byte changed, or cut short, is refused", "[signed_head]") {
    const auto key = key_of(1);
    TreeHead extended = head;
    extended.extensions = {"epoch 3"};
    const std::string note = *sign_head(extended, key);
    for (std::size_t i = 0; i < note.size(); ++i) {
        INFO("byte " << i);
        for (const int flip : {1, 0x20, 0x80}) {
            std::string changed = note;
            changed[i] = static_cast<char>(changed[i] ^ flip);
            CHECK_FALSE(verify_head(changed, origin, key.verifier()));
        }
        CHECK_FALSE(verify_head(note.substr(0, i), origin, key.verifier()));
        CHECK_FALSE(verify_head(note.substr(0, i) + note.substr(i + 1), origin, key.verifier()));
        CHECK_FALSE(verify_head(note.substr(0, i) + "A" + note.substr(i), origin, key.verifier()));
    }
}

TEST_CASE("another log's head, and another key's, are refused for that reason", "[signed_head]") {
    const auto key = key_of(1);
    const std::string note = *sign_head(head, key);
    CHECK(reason(verify_head(note, origin, key.verifier())) == "verified");
    CHECK(reason(verify_head(note, "example.com/other", key.verifier())) == "origin");
    CHECK(reason(verify_head(note, origin, key_of(2).verifier())) == "key");
    CHECK(reason(verify_head(note, origin, key_of(1, "example.com/other").verifier())) == "key");
}

TEST_CASE("signatures of unknown keys are passed over, a known key's must be right", "[signed_head]") {
    const auto key = key_of(1);
    const std::string note = *sign_head(head, key), line = signature_line(note);
    const std::string text = note.substr(0, note.size() - line.size());
    const std::string witness = signature_line(*sign_head(head, key_of(2, "witness.example")));
    const std::string same_name = signature_line(*sign_head(head, key_of(2)));
    const std::string post_quantum = "— witness.example " + std::string(4000, 'A') + "\n";
    const std::string forged =
        signature_line(*sign_head(TreeHead{origin, 4712, head.root, {}}, key));  // Of another head.
    const auto verify = [&](const std::string& lines) {
        return reason(verify_head(text + lines, origin, key.verifier()));
    };
    CHECK(verify(witness + line) == "verified");
    CHECK(verify(line + witness + same_name + post_quantum) == "verified");
    CHECK(verify(witness + same_name) == "key");
    CHECK(verify(line + forged) == "signature");
    CHECK(verify(forged + line) == "signature");
    std::string many = line;
    for (int i = 0; i < 99; ++i) many += witness;
    CHECK(verify(many) == "verified");
    CHECK(verify(many + witness) == "malformed");
    REQUIRE(SignedHead::parse(text + line + witness));
    CHECK(SignedHead::parse(text + line + witness)->signatures[1].name == "witness.example");
}

TEST_CASE("what is not spelled as a signed head is malformed", "[signed_head]") {
    const auto key = key_of(1);
    const std::string root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    // Signed all the same, so that only the spelling can be why.
    const auto signed_text = [&](const std::string& text) {
        const auto good = signature_line(*sign_head(head, key));
        return text + "\n" + good;
    };
    const auto malformed = [&](const std::string& note) {
        const auto parsed = SignedHead::parse(note);
        return !parsed && parsed.error().code == ErrorCode::invalid_argument &&
               parsed.error().details.at("reason") == "malformed";
    };
    REQUIRE_FALSE(malformed(signed_text("o\n7\n" + root + "\n")));
    for (const auto& text :
         std::vector<std::string>{"o\n7\n",
                                  "\n7\n" + root + "\n",
                                  "o\n\n" + root + "\n",
                                  "o\n07\n" + root + "\n",
                                  "o\n+7\n" + root + "\n",
                                  "o\n-7\n" + root + "\n",
                                  "o\n7 \n" + root + "\n",
                                  "o\n0x7\n" + root + "\n",
                                  "o\n9223372036854775808\n" + root + "\n",
                                  "o\n99999999999999999999\n" + root + "\n",
                                  "o\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",  // Stray bits.
                                  "o\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I\n",   // No padding.
                                  "o\n7\nCsUYapGGPo4dkMgIAUqom_Xajj7h2fB2MPA3j2jxq2I=\n",  // Another alphabet.
                                  "o\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxqw==\n",  // 31 bytes.
                                  "o\n7\n " + root + "\n",
                                  "o\n7\n" + root + "\n\n",
                                  "o\n7\n" + root + "\n\nx\n",
                                  "o\r\n7\n" + root + "\n",
                                  "o\t\n7\n" + root + "\n",
                                  "o\n7\n" + root + "\nx\x01\n",
                                  "o\xFF\n7\n" + root + "\n",
                                  "o\xC0\xAF\n7\n" + root + "\n",
                                  "o\xED\xA0\x80\n7\n" + root + "\n",
                                  "o\xE2\x80\n7\n" + root + "\n"}) {
        INFO(text);
        CHECK(malformed(signed_text(text)));
    }
    const std::string text = "o\n7\n" + root + "\n\n", good = "— name AAAAAAA=\n";
    REQUIRE_FALSE(malformed(text + good));
    for (const std::string& lines : std::vector<std::string>{
             "", "\n", "— name AAAAAAA=", "- name AAAAAAA=\n", "—name AAAAAAA=\n", "—  AAAAAAA=\n", "— name\n",
             "— name  AAAAAAA=\n", "— name AAAAAA==\n", "— name AAAAAAA= \n", "— na+me AAAAAAA=\n",
             "— na\u00A0me AAAAAAA=\n", "— na\xFFme AAAAAAA=\n", "— name AAAA\n", good + "x\n"}) {
        INFO(lines);
        CHECK(malformed(text + lines));
    }
    CHECK(malformed(""));
    CHECK(malformed(text + "— name " + std::string(1 << 20, 'A') + "\n"));
}

TEST_CASE("no head is signed that could not be read back", "[signed_head]") {
    const auto key = key_of(1);
    for (const auto& bad :
         {TreeHead{"", 1, {}, {}}, TreeHead{"two\nlines", 1, {}, {}}, TreeHead{"\xFF", 1, {}, {}},
          TreeHead{origin, ~std::uint64_t{0}, {}, {}}, TreeHead{origin, 1, {}, {""}},
          TreeHead{origin, 1, {}, {"two\nlines"}}, TreeHead{origin, 1, {}, {std::string(1 << 20, 'x')}}}) {
        const auto note = sign_head(bad, key);
        REQUIRE_FALSE(note);
        CHECK(note.error().code == ErrorCode::invalid_argument);
    }
    for (const auto* name : {"", "a b", "a+b", "a\nb", "a\u2003b", "\xFF"})
        CHECK_FALSE(SigningKey::from_seed(name, SigningKey::Seed{}));
}

TEST_CASE("a verifier key that was copied wrong is refused", "[signed_head]") {
    const std::string vkey = key_of(1).verifier().text();
    REQUIRE(VerifierKey::parse(vkey));
    for (std::size_t i = 0; i < vkey.size(); ++i) {
        INFO("byte " << i);
        std::string changed = vkey;
        changed[i] = static_cast<char>(changed[i] ^ 0x01);
        CHECK_FALSE(VerifierKey::parse(changed));
        CHECK_FALSE(VerifierKey::parse(vkey.substr(0, i)));
    }
    CHECK_FALSE(VerifierKey::parse(vkey + "\n"));
    CHECK_FALSE(VerifierKey::parse(""));
}
