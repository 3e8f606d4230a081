// Microsoft's client against our fake of Cosmos DB: what it takes for an account, our sink may be tested with.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CosmosClient } from "@azure/cosmos";
import { startFakes } from "./fakes.js";

let fakes, client, database, container;

const clientWith = (key) =>
    new CosmosClient({ endpoint: fakes.cosmos, key, connectionPolicy: { enableBackgroundEndpointRefreshing: false } });
const failure = async (promise) => promise.then(() => assert.fail("it succeeded"), (error) => error);

before(async () => {
    fakes = await startFakes();
    client = clientWith(fakes.cosmos_key);
    ({ database } = await client.databases.createIfNotExists({ id: "annal" }));
    ({ container } = await database.containers.createIfNotExists({
        id: "memories",
        partitionKey: { paths: ["/project"], kind: "Hash", version: 2 },
        vectorEmbeddingPolicy: {
            vectorEmbeddings: [
                { path: "/embedding", dataType: "float32", dimensions: 3, distanceFunction: "cosine" },
            ],
        },
        indexingPolicy: {
            includedPaths: [{ path: "/*" }],
            excludedPaths: [{ path: "/embedding/*" }],
            vectorIndexes: [{ path: "/embedding", type: "diskANN" }],
        },
    }));
});
after(async () => {
    client.dispose();
    await fakes.end();
});

test("a database and a container are made once, and are as they were made", async () => {
    assert.equal((await client.databases.createIfNotExists({ id: "annal" })).statusCode, 200);
    const again = await database.containers.createIfNotExists({ id: "memories", partitionKey: "/project" });
    assert.equal(again.statusCode, 200);
    const { resource } = await container.read();
    assert.deepEqual(resource.partitionKey.paths, ["/project"]);
    assert.equal(resource.vectorEmbeddingPolicy.vectorEmbeddings[0].dimensions, 3);
    assert.equal((await failure(database.containers.create({ id: "memories", partitionKey: "/project" }))).code, 409);
    assert.equal((await failure(client.databases.create({ id: "annal" }))).code, 409);
    assert.equal((await failure(client.database("none").container("memories").read())).code, 404);
});

test("a document is made, read at its point, put in place of another, and removed", async () => {
    const made = await container.items.create({ id: "1", project: "shop", text: "h\u00e4lt", embedding: [0.5, 0, 1] });
    assert.equal(made.statusCode, 201);
    assert(made.requestCharge > 0);
    const read = await container.item("1", "shop").read();
    assert.equal(read.statusCode, 200);
    assert.equal(read.resource.text, "h\u00e4lt");
    assert.equal(read.etag, read.resource._etag);
    assert.equal((await container.item("1", "elsewhere").read()).statusCode, 404);
    assert.equal((await failure(container.items.create({ id: "1", project: "shop" }))).code, 409);

    const upserted = await container.items.upsert({ id: "1", project: "shop", text: "two" });
    assert.equal(upserted.statusCode, 200);
    assert.notEqual(upserted.etag, read.etag);
    assert.equal((await container.items.upsert({ id: "2", project: "\u5e97" })).statusCode, 201);
    assert.equal((await container.item("2", "\u5e97").read()).statusCode, 200);

    assert.equal((await container.item("2", "\u5e97").delete()).statusCode, 204);
    assert.equal((await failure(container.item("2", "\u5e97").delete())).code, 404);
    assert.equal((await failure(container.item("3", "shop").replace({ id: "3", project: "shop" }))).code, 404);
});

test("a replace under an ETag that is old is refused, and changes nothing", async () => {
    const { etag } = await container.items.upsert({ id: "r", project: "shop", n: 1 });
    const under = (condition) => ({ accessCondition: { type: "IfMatch", condition } });
    const item = container.item("r", "shop");
    const next = await item.replace({ id: "r", project: "shop", n: 2 }, under(etag));
    assert.equal(next.statusCode, 200);
    assert.equal((await failure(item.replace({ id: "r", project: "shop", n: 3 }, under(etag)))).code, 412);
    assert.equal((await failure(item.delete(under(etag)))).code, 412);
    assert.equal((await item.read()).resource.n, 2);
});

test("a query sees its one partition, page by page", async () => {
    for (let i = 0; i < 20; ++i) await container.items.upsert({ id: `q${10 + i}`, project: "home", type: "memory" });
    await container.items.upsert({ id: "q", project: "shop", type: "memory" });
    const query = {
        query: "SELECT * FROM c WHERE c.type = @type ORDER BY c.id",
        parameters: [{ name: "@type", value: "memory" }],
    };
    const pages = container.items.query(query, { partitionKey: "home", maxItemCount: 5 });
    const found = [];
    let count = 0;
    while (pages.hasMoreResults()) {
        const page = await pages.fetchNext();
        found.push(...page.resources.map((document) => document.id));
        ++count;
    }
    assert.deepEqual(found, Array.from({ length: 20 }, (_, i) => `q${10 + i}`));
    assert(count > 1);
});

test("a batch is applied whole, or not at all", async () => {
    const done = await container.items.batch(
        [
            { operationType: "Create", resourceBody: { id: "b1", project: "shop" } },
            { operationType: "Upsert", resourceBody: { id: "b2", project: "shop" } },
            { operationType: "Replace", id: "b1", resourceBody: { id: "b1", project: "shop", n: 2 } },
            { operationType: "Delete", id: "b2" },
        ],
        "shop",
    );
    assert.equal(done.code, 200);
    assert.deepEqual(done.result.map((one) => one.statusCode), [201, 201, 200, 204]);
    assert.equal(done.result[2].resourceBody.n, 2);
    assert.equal(done.result[2].eTag, (await container.item("b1", "shop").read()).etag);

    const failed = await container.items.batch(
        [
            { operationType: "Upsert", resourceBody: { id: "b1", project: "shop", n: 3 } },
            { operationType: "Create", resourceBody: { id: "b3", project: "shop" } },
            { operationType: "Create", resourceBody: { id: "b1", project: "shop" } },
            { operationType: "Delete", id: "b1" },
        ],
        "shop",
    );
    assert.equal(failed.code, 207);
    assert.deepEqual(failed.result.map((one) => one.statusCode), [424, 424, 409, 424]);
    assert.equal((await container.item("b1", "shop").read()).resource.n, 2);
    assert.equal((await container.item("b3", "shop").read()).statusCode, 404);

    const stale = await container.items.batch(
        [{ operationType: "Replace", id: "b1", ifMatch: "\"old\"", resourceBody: { id: "b1", project: "shop" } }],
        "shop",
    );
    assert.equal(stale.result[0].statusCode, 412);
});

test("what is throttled is asked again, not before its time", async () => {
    const before = await fakes.say("counts");
    await fakes.say("throttle 2");
    assert.equal((await container.items.upsert({ id: "t", project: "shop" })).statusCode, 201);
    const counts = await fakes.say("counts");
    assert.equal(counts.requests - before.requests, 3);
    assert.equal(counts.too_early, 0);
});

test("another key opens nothing", async () => {
    const stranger = clientWith(Buffer.from("another").toString("base64"));
    const error = await failure(stranger.database("annal").container("memories").item("1", "shop").read());
    stranger.dispose();
    assert.equal(error.code, 401);
    assert((await fakes.say("counts")).unsigned > 0);
});
