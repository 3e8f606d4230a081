#include "events/event_seal.h"

#include "events/event_log.h"
#include "golden_events.h"
#include "support/keystore_fixture.h"
#include "support/log_fixture.h"

#include "memory_event_generated.h"

#include <catch2/catch_test_macros.hpp>

using namespace annal;
using namespace annal::testing;

namespace {

const MemoryId tea = memory_number(1), rain = memory_number(2), fog = memory_number(3);

class Store {
 public:
    explicit Store(std::optional<RootKey> root = root_key('r')) { open(std::move(root)); }
    ~Store() { close(); }

    const std::filesystem::path& path() const { return dir_.path(); }
    std::filesystem::path keys() const { return path() / "keys"; }
    EventLog& log() { return *log_; }
    Keystore& keystore() { return *keystore_; }

    void close() {
        log_.reset();
        keystore_.reset();
    }
    void open(std::optional<RootKey> root) {
        auto log = EventLog::open({.directory = path() / "log"});
        REQUIRE(log);
        log_ = std::move(*log);
        auto keystore = Keystore::open({.files = *rocksdb::FileSystem::Default(),
                                        .directory = keys(),
                                        .store = log_->store_uuid(),
                                        .root_key = std::move(root)});
        REQUIRE(keystore);
        keystore_ = std::move(*keystore);
        REQUIRE(log_->seal_with(*keystore_));
    }
    void reopen(std::optional<RootKey> root) {
        close();
        open(std::move(root));
    }

    Result<std::vector<Receipt>> append(const MemoryEvent& event, std::optional<Seq> stamped_from = {},
                                        EncodedEvent* encoded = nullptr) {
        auto made = encode(event);
        REQUIRE(made);
        AppendItem item{ExpectedVersion::any(), encoded != nullptr ? encoded : &*made};
        AppendBatch batch;
        batch.project = event.scope.project;
        batch.items = {&item, 1};
        batch.stamped_from = stamped_from;
        return log_->append(batch);
    }
    Result<std::vector<EventView>> read() {
        arena_.clear();
        std::vector<EventView> events;
        if (auto ok = log_->read(Seq{0}, {}, arena_, events); !ok) return ok.error();
        return events;
    }
    Payload payload(std::size_t index) { return read()->at(index).payload(); }

 private:
    TempDir dir_;
    EventArena arena_;
    std::unique_ptr<Keystore> keystore_;
    std::unique_ptr<EventLog> log_;
};

MemoryEvent of_user(MemoryEvent event, std::string user) {
    event.scope.user = std::move(user);
    return event;
}
MemoryEvent likes(const MemoryId& memory, std::string user) {
    return of_user(note(memory, "likes tea"), std::move(user));
}

std::string_view text_of(std::span<const std::uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("an event of a user is stored sealed, whatever its body, and read as it was", "[events][seal]") {
    Store store;
    std::vector<MemoryEvent> events;
    for (const auto& golden : golden_events()) {
        // What asks for an erasure is another one's: those before it are to be read.
        auto event = of_user(golden.event, golden.event.type() == EventType::erasure_requested ? "eve" : "ann");
        event.actor = "planted actor";
        event.reason = "planted reason";
        event.source = {SourceType::file, "planted source"};
        event.correlation_id = event.causation_id = "planted id";
        events.push_back(event);
        event.memory_id.bytes[0] ^= 0xff;
        event.scope.user.clear();
        events.push_back(event);
    }
    for (const auto& event : events) REQUIRE(store.append(event));
    for (int opened = 0; opened < 2; ++opened) {
        const auto read = store.read();
        REQUIRE(read);
        REQUIRE(read->size() == events.size());
        for (std::size_t i = 0; i < events.size(); ++i) {
            const auto& view = (*read)[i];
            INFO(to_string(view.type()) << " of " << view.user());
            CHECK(view.payload() == Payload::plain);
            CHECK(view.unpack() == events[i]);
            CHECK(view.seq() == Seq{i + 1});

            const auto stored = text_of(view.stored());
            const bool open = events[i].scope.user.empty() || view.type() == EventType::erasure_requested ||
                              view.type() == EventType::erasure_completed || view.type() == EventType::policy_changed;
            CHECK((stored.find("planted") != std::string_view::npos) == open);
            EventArena arena;
            const auto outer = decode(view.seq(), stored, arena);
            REQUIRE(outer);
            CHECK(outer->payload() == (open ? Payload::plain : Payload::sealed));
            CHECK(outer->type() == events[i].type());
            CHECK(outer->memory_id() == events[i].memory_id);
            CHECK(outer->event_id() == events[i].event_id);
            CHECK(outer->unpack().scope == events[i].scope);
        }
        store.reopen(root_key('r'));
    }
    EventArena arena;
    std::vector<EventView> stream;
    REQUIRE(store.log().read_stream("shop", events[0].memory_id, arena, stream));
    REQUIRE(stream.size() == 1);
    CHECK(stream[0].unpack() == events[0]);
}

TEST_CASE("no byte of what a user said is in the files of the log", "[events][seal]") {
    Store store;
    auto secret = likes(tea, "ann");
    secret.actor = "planted by ann";
    std::get<MemoryRecorded>(secret.body).tags = {"planted by ann"};
    auto open = likes(rain, "");
    open.actor = "planted by nobody";
    REQUIRE(store.append(secret));
    REQUIRE(store.append(open));
    for (int closed = 0; closed < 2; ++closed) {
        CHECK_FALSE(any_file_holds(store.path(), "planted by ann"));
        CHECK(any_file_holds(store.path() / "log", "planted by nobody"));
        store.close();
    }
    store.open(std::nullopt);
}

TEST_CASE("without its root key a store seals nothing, opens nothing and changes nothing", "[events][seal]") {
    Store store;
    REQUIRE(store.append(likes(tea, "ann")));
    REQUIRE(store.append(likes(rain, "")));
    for (const bool wrong : {false, true}) {
        store.reopen(wrong ? std::optional(root_key('x')) : std::nullopt);
        const auto keys = files_in(store.keys());
        CHECK(store.keystore().state() == KeystoreState::locked);
        CHECK(store.payload(0) == Payload::sealed);
        CHECK(store.payload(1) == Payload::plain);
        CHECK(store.read()->at(0).unpack().actor.empty());
        CHECK(store.append(likes(fog, "ann")).error().code == ErrorCode::permission_denied);
        CHECK(store.log().head() == Seq{wrong ? 3u : 2u});
        REQUIRE(store.append(likes(fog, "")));
        CHECK(files_in(store.keys()) == keys);
    }
    store.reopen(root_key('r'));
    CHECK(store.payload(0) == Payload::plain);
}

TEST_CASE("an erased key leaves the event, its hash and the root as they were", "[events][seal]") {
    Store store;
    REQUIRE(store.append(likes(tea, "ann")));
    REQUIRE(store.append(likes(rain, "bob")));
    const auto hash = store.log().root(Seq{2});
    const Subject ann{"shop", "ann"};
    REQUIRE(store.keystore().erase({&ann, 1}));
    for (int opened = 0; opened < 2; ++opened) {
        const auto read = store.read();
        REQUIRE(read);
        CHECK(read->at(0).payload() == Payload::erased);
        CHECK(read->at(0).memory_id() == tea);
        CHECK(std::get<MemoryRecorded>(read->at(0).unpack().body).content.empty());
        CHECK(read->at(1).unpack() == likes(rain, "bob"));
        CHECK(*store.log().root(Seq{2}) == *hash);
        store.reopen(root_key('r'));
    }
}

TEST_CASE("what was sealed opens in its own place alone", "[events][seal]") {
    Store store;
    auto event = likes(tea, "ann");
    event.memory_id.bytes.fill(0x5a);
    event.event_id.bytes.fill(0xa5);
    auto sealed = encode(event);
    REQUIRE(seal(store.keystore(), *sealed));
    const auto size = sealed->bytes.size();
    REQUIRE(seal(store.keystore(), *sealed));  // Once.
    CHECK(sealed->bytes.size() == size);
    stamp(sealed->bytes, Version{1}, Timestamp{1});

    const auto opened = [&](const std::string& bytes) -> Result<Payload> {
        EventArena arena;
        auto view = decode(Seq{1}, bytes, arena);
        if (!view) return view.error();
        if (auto ok = unseal(store.keystore(), *view, arena); !ok) return ok.error();
        return view->payload();
    };
    const std::string good(text_of(sealed->bytes));
    REQUIRE(*opened(good) == Payload::plain);
    const auto replaced = [&](std::string_view from, std::string_view to) {
        auto bytes = good;
        const auto at = bytes.find(from);
        REQUIRE(at != std::string::npos);
        return bytes.replace(at, from.size(), to);
    };
    for (const auto& id : {event.event_id.bytes, event.memory_id.bytes}) {
        auto another = id;
        another[15] ^= 1;
        CHECK(opened(replaced(as_text(id), as_text(another))).error().code == ErrorCode::data_loss);
    }
    CHECK(opened(replaced("ann", "bob")).error().code == ErrorCode::data_loss);
    CHECK(opened(replaced("shop", "shed")).error().code == ErrorCode::data_loss);
    EventArena arena;
    const auto outer = decode(Seq{1}, good, arena);
    const auto& bytes = *outer->table().sealed()->bytes();
    const auto begin = static_cast<std::size_t>(bytes.data() - outer->stored().data());
    for (std::size_t at = begin; at < begin + bytes.size(); ++at) {
        auto damaged = good;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
        CHECK(opened(damaged).error().code == ErrorCode::data_loss);
    }
}

TEST_CASE("a store that has lost its keystore says so, and makes no other", "[events][seal]") {
    Store store;
    CHECK(*store.log().has_keystore());
    REQUIRE(store.append(likes(tea, "ann")));
    store.close();
    std::filesystem::remove_all(store.keys());
    auto log = *EventLog::open({.directory = store.path() / "log"});
    CHECK(*log->has_keystore());
    auto keystore = Keystore::open({.files = *rocksdb::FileSystem::Default(),
                                    .directory = store.keys(),
                                    .store = log->store_uuid(),
                                    .root_key = std::nullopt});
    REQUIRE(keystore);
    const auto sealed = log->seal_with(**keystore);
    REQUIRE_FALSE(sealed);
    CHECK(sealed.error().code == ErrorCode::data_loss);
    CHECK_FALSE(std::filesystem::exists(store.keys()));
}

TEST_CASE("events sealed in another store come in with their bytes, and read as erased", "[events][seal]") {
    Store from;
    REQUIRE(from.append(likes(tea, "ann")));
    REQUIRE(from.append(likes(rain, "")));
    const auto read = from.read();
    REQUIRE(read);
    for (const bool with_keys : {false, true}) {
        Store to(with_keys ? std::optional(root_key('r')) : std::nullopt);
        for (const auto& view : *read) {
            EncodedEvent event{
                view.memory_id(), view.event_id(), view.type(), {view.stored().begin(), view.stored().end()}};
            REQUIRE(to.append(view.unpack(), view.seq(), &event));
        }
        CHECK(*to.log().root(Seq{2}) == *from.log().root(Seq{2}));
        CHECK(to.payload(0) == Payload::erased);
        CHECK(to.payload(1) == Payload::plain);
        CHECK(*to.log().has_keystore() == with_keys);
    }
}

TEST_CASE("golden sealed events of every body are opened with the golden keystore", "[events][seal][golden]") {
    const std::filesystem::path golden = std::filesystem::path(ANNAL_GOLDEN_DIR) / "sealed";
    const TempDir dir;
    std::filesystem::copy(golden / "keys", dir.path() / "keys");
    const auto keystore = open_keystore(dir.path() / "keys", root_key('r'));
    REQUIRE(keystore);
    REQUIRE((*keystore)->state() == KeystoreState::unlocked);
    for (const auto& each : golden_events()) {
        INFO(each.name);
        EventArena arena;
        auto view = decode(Seq{1}, bytes_of(golden / "v1" / (each.name + ".bin")), arena);
        REQUIRE(view);
        REQUIRE(unseal(**keystore, *view, arena));
        CHECK(view->payload() == Payload::plain);
        CHECK(view->unpack() == of_user(each.event, "ann"));
        CHECK(view->version() == each.version);
        CHECK(view->recorded_at() == each.recorded_at);
    }
}
