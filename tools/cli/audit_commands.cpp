// audit: what an auditor takes away, to be checked by annal-verify-proof without the store.
#include "context.h"

#include "events/signed_head.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

namespace annal::cli {
namespace {

// A text that is a file of its own: printed as it is, or as a field of an object.
Result<int> finish(const Context& context, Json json, const char* field, const std::string& text) {
    json[field] = text;
    const auto ok = context.json ? Context::print(json) : Context::write(text);
    if (!ok) return ok.error();
    return 0;
}

Result<SignedHead> newest_head(Engine& engine, std::string& note) {
    auto signed_now = engine.signed_head();
    if (!signed_now) return signed_now.error();
    note = *std::move(signed_now);
    return SignedHead::parse(note);
}

void add_head(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("head", "The log's head, signed: its size and the root of its Merkle tree");
    command->footer(
        R"(Keep it where the store's owner cannot change it: every later head must be proved to go on from it.

Example:
  annal audit head > monday.head)");
    command->callback([&context] {
        context.action = [&context]() -> Result<int> {
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            std::string note;
            const auto newest = newest_head(**engine, note);
            if (!newest) return newest.error();
            return finish(context, {{"origin", newest->head.origin}, {"size", newest->head.size}}, "head", note);
        };
    });
}

void add_keys(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("keys", "The public key that heads are verified with");
    command->footer(R"(An auditor takes it once, from someone he trusts, never from the store that he checks.

Example:
  annal audit keys > store.key)");
    command->callback([&context] {
        context.action = [&context]() -> Result<int> {
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            return finish(context, Json::object(), "key", (*engine)->verifier_key() + (context.json ? "" : "\n"));
        };
    });
}

struct ProveFlags {
    std::string id;
    std::uint64_t version = 0, size = 0;
};

void add_prove(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("prove", "Prove that an event of a memory is in the log");
    auto flags = std::make_shared<ProveFlags>();
    command->add_option("ID", flags->id, "The memory's id")->required();
    command->add_option("--version", flags->version, "Which of its events; 0: the newest")->capture_default_str();
    command->add_option("--size", flags->size, "The head it is proved against; 0: the newest")->capture_default_str();
    command->footer(R"text(Example:
  annal audit keys > store.key; annal audit head > now.head
  annal audit prove 01970e2c-7b1e-7c3a-9f00-0123456789ab --project shop > proof
  annal-verify-proof inclusion now.head proof --key "$(cat store.key)")text");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            const auto id = parse_memory_id(flags->id);
            if (!id) return id.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const auto history = (*engine)->history(context.scope, *id, context.read_options(**engine, 0));
            if (!history) return history.error();
            if (flags->version > history->size())
                return Error{ErrorCode::not_found,
                             "the memory is at version " + std::to_string(history->size()),
                             {{"version", std::to_string(flags->version)}}};
            const auto& entry = flags->version == 0 ? history->back() : (*history)[flags->version - 1];
            Seq size{flags->size};
            if (flags->size == 0) {
                std::string note;
                const auto newest = newest_head(**engine, note);
                if (!newest) return newest.error();
                size = Seq{newest->head.size};
            }
            const auto proof = (*engine)->prove_inclusion(entry.seq, size);
            if (!proof) return proof.error();
            return finish(context,
                          {{"memory_id", to_string(*id)},
                           {"version", entry.version.value},
                           {"seq", entry.seq.value},
                           {"size", size.value}},
                          "proof", *proof);
        };
    });
}

void add_consistency(CLI::App& app, Context& context) {
    auto* command =
        app.add_subcommand("consistency", "Prove that the log of one head goes on from the log of an older one");
    struct Flags {
        std::uint64_t older = 0, newer = 0;
    };
    auto flags = std::make_shared<Flags>();
    command->add_option("A", flags->older, "Size of the older head")->required();
    command->add_option("B", flags->newer, "Size of the newer head")->required();
    command->footer(R"text(Example:
  annal audit consistency 4711 5000 > growth
  annal-verify-proof consistency monday.head now.head growth --key "$(cat store.key)")text");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const auto proof = (*engine)->prove_consistency(Seq{flags->older}, Seq{flags->newer});
            if (!proof) return proof.error();
            return finish(context, {{"old_size", flags->older}, {"new_size", flags->newer}}, "proof", *proof);
        };
    });
}

}  // namespace

void add_audit_commands(CLI::App& app, Context& context) {
    auto* audit = app.add_subcommand("audit", "Signed heads and proofs, for who does not trust the store");
    audit->require_subcommand(1);
    add_head(*audit, context);
    add_keys(*audit, context);
    add_prove(*audit, context);
    add_consistency(*audit, context);
}

}  // namespace annal::cli
