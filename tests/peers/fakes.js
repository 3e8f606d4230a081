// The program with the fakes (fakes.cpp), spoken to in lines.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export async function startFakes() {
    const child = spawn(process.env.ANNAL_FAKES, { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async () => {
        const line = await lines.next();
        assert(!line.done, "the fakes have ended");
        return JSON.parse(line.value);
    };
    const places = await next();
    return {
        ...places,
        say(line) {
            child.stdin.write(line + "\n");
            return next();
        },
        end: () => new Promise((ended) => child.once("exit", ended).stdin.end()),
    };
}
