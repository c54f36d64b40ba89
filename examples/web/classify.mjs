// classify.mjs: classifies an iris in Node.js or in a browser: node classify.mjs iris.wasm 5.1 3.5 1.4 0.2
export async function load(bytes) {
    const { instance } = await WebAssembly.instantiate(bytes, {});
    const c = instance.exports;
    c._initialize?.();
    const text = (address) => {
        const memory = new Uint8Array(c.memory.buffer);
        return new TextDecoder().decode(memory.subarray(address, memory.indexOf(0, address)));
    };
    return {
        selftest: c.selftest ?? (() => 0), // it may be left out
        classify(inputs) {
            new Float32Array(c.memory.buffer, c.input(), 4).set(inputs);
            const name = text(c.class_name(c.classify()));
            const outputs = new Float32Array(c.memory.buffer, c.predict(), 3).slice();
            return { name, outputs };
        },
    };
}

if (typeof process !== "undefined") {
    const { readFileSync } = await import("node:fs");
    const [path, ...numbers] = process.argv.slice(2);
    const network = await load(readFileSync(path));
    if (network.selftest() !== 0) {
        throw new Error("the self-test fails");
    }
    const { name, outputs } = network.classify(numbers.map(Number));
    console.log(name, outputs.join(" "));
}
