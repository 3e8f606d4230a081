// The clients of OpenAI and of Ollama against our fakes of their servers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Ollama } from "ollama";
import OpenAI from "openai";
import { startFakes } from "./fakes.js";

const texts = ["tea", "h\u00e4lt", "a longer one"];
let fakes, vectors;

const openai = (baseURL, apiKey = "token") => new OpenAI({ baseURL, apiKey, maxRetries: 2 });
const by_index = (answer) => answer.data.sort((a, b) => a.index - b.index).map((one) => Array.from(one.embedding));
const close = (got, wanted) => {
    assert.equal(got.length, wanted.length);
    got.forEach((row, i) => assert.deepEqual(Array.from(Float32Array.from(row)), wanted[i]));
};

before(async () => {
    fakes = await startFakes();
    vectors = [];
    for (const text of texts) vectors.push(Array.from(Float32Array.from(await fakes.say("vector " + text))));
});
after(() => fakes.end());

test("openai has its vectors, as base64 and as numbers", async () => {
    // Without a format the client asks for base64, and unpacks it.
    close(by_index(await openai(fakes.openai_base64).embeddings.create({ model: "tiny", input: texts })), vectors);
    const numbers = { model: "tiny", input: texts, encoding_format: "float" };
    close(by_index(await openai(fakes.openai_numbers).embeddings.create(numbers)), vectors);
    const models = await openai(fakes.openai_numbers).models.list();
    assert.deepEqual(models.data.map((model) => model.id), ["tiny"]);
});

test("openai understands every refusal", async () => {
    const ask = (client, model = "tiny") => client.embeddings.create({ model, input: texts });
    await assert.rejects(ask(openai(fakes.openai_base64, "another")), (error) => {
        assert(error instanceof OpenAI.AuthenticationError);
        return error.message === "401 no";
    });
    await assert.rejects(ask(openai(fakes.openai_base64), "huge"), (error) => {
        assert(error instanceof OpenAI.NotFoundError);
        return error.message === "404 model not found";
    });
    await fakes.say("busy");
    close(by_index(await ask(openai(fakes.openai_base64))), vectors);  // It asked again.
});

test("ollama has its vectors, and understands a refusal", async () => {
    const ollama = new Ollama({ host: fakes.ollama });
    close((await ollama.embed({ model: "tiny", input: texts, truncate: false })).embeddings, vectors);
    assert((await ollama.show({ model: "tiny" })).details);
    await assert.rejects(ollama.embed({ model: "huge", input: texts, truncate: false }), (error) => {
        assert.equal(error.status_code, 404);
        return error.message === "model not found";
    });
});
