/*
 * prelude.js - runs in every fresh context before the codec's own script, which
 * it never shares a name with. Its value is the function `open`; what open
 * returns is called once per frame. It keeps the language's own functions, so
 * that a script that replaces JSON or Array disturbs nobody but itself.
 *
 * A codec sees a TS013 world: sloppy global code, `bytes` a plain array,
 * recvTime a Date. `new Date()` and Math.random() answer the same for the same
 * frame, because decoding is pure.
 */
(function () {
    const { parse, stringify } = JSON;
    const { isArray, from: arrayFrom } = Array;
    const { construct, apply } = Reflect;
    const { defineProperty, keys } = Object;
    const NativeDate = Date, NativeString = String, isView = ArrayBuffer.isView;
    const RAW = JSON.rawJSON;

    const define = (on, name, value) =>
        defineProperty(on, name, { value, writable: true, configurable: true });

    /* A global that costs nothing until a script asks for it. */
    function lazily(name, make) {
        defineProperty(globalThis, name, {
            configurable: true,
            get() { const v = make(); define(globalThis, name, v); return v; },
            set(v) { define(globalThis, name, v); },
        });
    }

    /* "Now" is when the frame was received. */
    function stopClock(now) {
        const Clock = new Proxy(NativeDate, {
            construct: (d, args, target) =>
                construct(d, args.length ? args : [now],
                          target === Clock ? d : target),
            apply: () => new NativeDate(now).toString(),
            get: (d, name) => (name === 'now' ? () => now : d[name]),
        });
        define(NativeDate.prototype, 'constructor', Clock);
        define(globalThis, 'Date', Clock);
        let seed = 1;
        define(Math, 'random', () => {
            seed = (seed * 48271) % 2147483647;
            return (seed - 1) / 2147483646;
        });
    }

    /* For scripts that end in module.exports = ... without asking for it. */
    function openNode(shims) {
        const module = { exports: {} };
        for (const name of ['global', 'self', 'window'])
            define(globalThis, name, globalThis);
        define(globalThis, 'module', module);
        define(globalThis, 'exports', module.exports);
        define(globalThis, 'require', (name) => {
            if (!/^(node:)?(buffer|util)$/.test(name))
                throw new Error("Cannot find module '" + name + "'");
            return { Buffer: globalThis.Buffer,
                     TextDecoder: globalThis.TextDecoder,
                     TextEncoder: globalThis.TextEncoder };
        });
    }

    function open(now, node, shims) {
        for (const name of ['WebAssembly', 'SharedArrayBuffer', 'Atomics'])
            delete globalThis[name];
        const log = {};
        for (const name of ['log', 'info', 'warn', 'error', 'debug', 'trace',
                            'dir', 'table', 'assert', 'group', 'groupEnd',
                            'time', 'timeEnd', 'count'])
            log[name] = function () {};
        define(globalThis, 'console', log);
        for (const name of keys(shims))
            lazily(name, shims[name]);
        if (node)
            openNode(shims);
        if (now === now)
            stopClock(now);
    }

    const isObject = (v) => typeof v === 'object' && v !== null;
    const isFunction = (v) => typeof v === 'function';

    /* "TypeError: x is not a function, line 12" */
    function describe(e) {
        let text, line;
        try {
            text = NativeString(e);
            if (isObject(e) && e.line > 0)
                line = e.line;
        } catch (_) { /* an error that cannot be told */ }
        return (text || 'an exception without text') +
               (line ? ', line ' + line : '');
    }

    /* What JSON has no word for: a BigInt becomes its digits. */
    const replacer = (_, v) =>
        typeof v !== 'bigint' ? v : RAW ? RAW(v.toString()) : v.toString();

    function json(v) {
        try {
            return stringify(v) ?? '';
        } catch (e) {
            if (!(e instanceof TypeError) || !/BigInt/.test(e.message))
                throw e;
            return stringify(v, replacer);
        }
    }

    /* Without what some readers of lines take for the end of one. */
    const text = (v) => json(v).replace(/[\u0085\u2028\u2029]/g,
        (c) => '\\u' + (c.charCodeAt(0) + 0x10000).toString(16).slice(1));

    /* Errors and warnings: a list; a lone text is a list of one, '' of none. */
    const list = (v) => (isArray(v) ? v : v ? [v] : undefined);
    const failed = (r) => list(r.errors)?.some((e) => e !== '') ?? false;

    /* The codec's own function: of TS013, or as older servers called it. */
    const older = {
        decodeUplink: [['Decoder', (f, q) => f(q.bytes, q.fPort)],
                       ['Decode', (f, q) => f(q.fPort, q.bytes, q.variables)]],
        decodeDownlink: [],
        encodeDownlink: [
            ['Encoder', (f, q) => ({ bytes: f(q.data, q.fPort) })],
            ['Encode', (f, q) => ({ bytes: f(q.fPort, q.data, q.variables) })]],
    };
    const wrapped = (call) => (f, q) => ({ data: call(f, q) });

    function at(own, name) {
        const node = isObject(own.module) ? own.module.exports : undefined;
        for (const p of [own, node, node?.default, own.exports, own.driver])
            if (p && isFunction(p[name]))
                return p[name];
    }

    function find(own, name) {
        const plainly = (f, q) => f(q);
        if (at(own, name))
            return [at(own, name), plainly];
        for (const [n, call] of older[name])
            if (at(own, n))
                return [at(own, n),
                        name === 'decodeUplink' ? wrapped(call) : call];
        const left = own.module?.exports;
        for (const whole of [left, left?.default])
            if (name === 'decodeUplink' && isFunction(whole))
                return [whole, plainly];
    }

    /* recvTime, whose JSON is the very text that was given. */
    function time(q) {
        if (q.time === undefined)
            return undefined;
        const t = new NativeDate(q.time);
        if (q.timeText)
            define(t, 'toJSON', () => q.timeText);
        return t;
    }

    /* A result that cannot be normalized is a result all the same. */
    function normalized(own, r) {
        const f = at(own, 'normalizeUplink');
        if (!f || failed(r))
            return [''];
        try {
            const n = f({ data: r.data });
            return [isObject(n) && !failed(n) ? text(n.data) : ''];
        } catch (e) {
            return ['', 'normalizeUplink threw ' + describe(e)];
        }
    }

    function encoded(r) {
        if (isView(r.bytes))
            r.bytes = arrayFrom(r.bytes);
        if (isArray(r.bytes) || list(r.errors)?.length)
            return { bytes: r.bytes, fPort: r.fPort };
    }

    /* The first character is an enum wire_status, then its text. */
    const OK = 0, EXCEPTION = 5, NO_FUNCTION = 6, BAD_RESULT = 7;

    function answer(own, name, q) {
        const found = find(own, name);
        if (!found)
            return NO_FUNCTION + 'the script has no function ' + name;
        q.recvTime = time(q);
        const input = name === 'encodeDownlink'
            ? { data: q.data, fPort: q.fPort, variables: q.variables }
            : { bytes: q.bytes, fPort: q.fPort, recvTime: q.recvTime,
                variables: q.variables };
        if (!q.recvTime)
            delete input.recvTime;
        const r = found[1](found[0], input);
        if (!isObject(r) || isFunction(r.then))
            return BAD_RESULT + name + ' returned ' +
                   (isObject(r) ? 'a promise' : NativeString(r)) +
                   ', not an object';
        /* Some return the data itself. */
        const bare = !('data' in r || 'errors' in r || 'warnings' in r);
        const data = name === 'encodeDownlink' ? encoded(r)
                     : bare && keys(r).length ? r : r.data;
        if (name === 'encodeDownlink' && !data)
            return BAD_RESULT + name + ' returned no bytes';
        const told = list(r.warnings);
        const [normal, why] = q.normalize ? normalized(own, r) : [''];
        return OK + text(data) + '\n' + text(list(r.errors)) + '\n' +
               text(why ? [...told ?? [], why] : told) + '\n' + normal;
    }

    function run(own, name, question) {
        try {
            return answer(own, name, parse(question));
        } catch (e) {
            return EXCEPTION + describe(e);
        }
    }

    return { open, run, describe };
})()
