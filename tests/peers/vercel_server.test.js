// Our client against a Cosmos DB server that others wrote: vercel_client_test.cpp, with the server's place as its
// argument. The server checks no key and takes nothing of a failed batch back.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import server from "@vercel/cosmosdb-server";

test("our client does with another's server what it can do", async () => {
    const listening = server.createHttpServer({ keepAlive: true });
    await new Promise((ready) => listening.listen(0, "127.0.0.1", ready));
    const ANNAL_COSMOS_SERVER = `http://127.0.0.1:${listening.address().port}/`;
    const client = spawn(process.env.ANNAL_COSMOS_CLIENT, [], {
        stdio: ["ignore", "inherit", "inherit"],
        env: { ...process.env, ANNAL_COSMOS_SERVER },
    });
    const code = await new Promise((ended) => client.once("exit", ended));
    listening.closeAllConnections?.();
    listening.close();
    assert.equal(code, 0);
});
