/*
 * shims.js - what published codecs take for granted beside the language: atob,
 * btoa, TextEncoder, TextDecoder (UTF-8, Latin-1, ASCII), and as much of Node's
 * Buffer as ChirpStack offers. Made only when a script asks.
 */
(function () {
    const ALPHABET =
        'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

    function toBase64(bytes) {
        let out = '';
        for (let i = 0; i < bytes.length; i += 3) {
            const n = (bytes[i] << 16) | (bytes[i + 1] << 8) | bytes[i + 2];
            const more = bytes.length - i;
            out += ALPHABET[n >> 18 & 63] + ALPHABET[n >> 12 & 63] +
                   (more > 1 ? ALPHABET[n >> 6 & 63] : '=') +
                   (more > 2 ? ALPHABET[n & 63] : '=');
        }
        return out;
    }

    function fromBase64(s) {
        const out = [];
        let n = 0, bits = 0;
        for (const c of String(s).replace(/-/g, '+').replace(/_/g, '/')) {
            const v = ALPHABET.indexOf(c);
            if (v < 0)
                continue;
            n = (n << 6 | v) & 0xffffff;
            bits += 6;
            if (bits >= 8)
                out.push(n >> (bits -= 8) & 255);
        }
        return out;
    }

    const binary = (s) => Array.from(s, (c) => c.charCodeAt(0) & 255);

    function latin(bytes) {
        let out = '';
        for (const b of bytes)
            out += String.fromCharCode(b);
        return out;
    }

    function toUtf8(s) {
        const out = [];
        for (const c of String(s)) {
            let p = c.codePointAt(0);
            if (p >= 0xd800 && p <= 0xdfff)
                p = 0xfffd;
            if (p < 0x80)
                out.push(p);
            else if (p < 0x800)
                out.push(0xc0 | p >> 6, 0x80 | p & 63);
            else if (p < 0x10000)
                out.push(0xe0 | p >> 12, 0x80 | p >> 6 & 63, 0x80 | p & 63);
            else
                out.push(0xf0 | p >> 18, 0x80 | p >> 12 & 63,
                         0x80 | p >> 6 & 63, 0x80 | p & 63);
        }
        return out;
    }

    /* The first byte of a sequence tells its length and the least code point;
     * what does not fit becomes U+FFFD, as the Encoding standard has it. */
    function fromUtf8(bytes, fatal) {
        let out = '';
        for (let i = 0; i < bytes.length;) {
            const b = bytes[i++];
            let more = b < 0x80 ? 0 : b >= 0xc2 && b < 0xe0 ? 1
                       : b >= 0xe0 && b < 0xf0 ? 2
                       : b >= 0xf0 && b < 0xf5 ? 3 : -1;
            let p = more < 1 ? b : b & (0x3f >> more);
            let low = b === 0xe0 ? 0xa0 : b === 0xf0 ? 0x90 : 0x80;
            let high = b === 0xed ? 0x9f : b === 0xf4 ? 0x8f : 0xbf;
            for (; more > 0; more--, low = 0x80, high = 0xbf) {
                if (!(bytes[i] >= low && bytes[i] <= high))
                    break;
                p = p << 6 | bytes[i++] & 63;
            }
            if (more !== 0 && fatal)
                throw new TypeError('The encoded data was not valid UTF-8');
            out += more === 0 ? String.fromCodePoint(p) : '\ufffd';
        }
        return out;
    }

    function view(v) {
        if (v === undefined)
            return new Uint8Array(0);
        if (ArrayBuffer.isView(v))
            return new Uint8Array(v.buffer, v.byteOffset, v.byteLength);
        return new Uint8Array(v);
    }

    function makeTextDecoder() {
        return class TextDecoder {
            constructor(label = 'utf-8', options = {}) {
                this.encoding = String(label).toLowerCase();
                this.fatal = Boolean(options.fatal);
            }
            decode(v) {
                const bytes = view(v);
                if (/^(utf-?8|unicode)/.test(this.encoding))
                    return fromUtf8(bytes, this.fatal).replace(/^\ufeff/, '');
                return latin(bytes);
            }
        };
    }

    function makeTextEncoder() {
        return class TextEncoder {
            get encoding() { return 'utf-8'; }
            encode(s = '') { return Uint8Array.from(toUtf8(s)); }
        };
    }

    const encoders = {
        hex: (b) => b.reduce((s, x) => s + (x + 256).toString(16).slice(1), ''),
        base64: toBase64,
        base64url: (b) => toBase64(b).replace(/\+/g, '-').replace(/\//g, '_')
            .replace(/=/g, ''),
        ascii: (b) => latin(b.map((x) => x & 127)),
        latin1: latin, binary: latin,
        utf16le: (b) => { let s = '';
            for (let i = 0; i + 1 < b.length; i += 2)
                s += String.fromCharCode(b[i] | b[i + 1] << 8);
            return s; },
        utf8: (b) => fromUtf8(b),
    };
    const decoders = {
        hex: (s) => (s.match(/^([0-9a-f]{2})*/i)[0].match(/../g) || [])
            .map((x) => parseInt(x, 16)),
        base64: fromBase64, base64url: fromBase64,
        ascii: binary, latin1: binary, binary,
        utf16le: (s) => Array.from({ length: 2 * s.length },
            (_, i) => s.charCodeAt(i >> 1) >> 8 * (i & 1) & 255),
        utf8: toUtf8,
    };
    const coder = (table, name) => {
        const n = String(name ?? 'utf8').toLowerCase();
        const f = table[n === 'utf-8' ? 'utf8'
                        : n === 'ucs2' || n === 'utf-16le' ? 'utf16le' : n];
        if (!f)
            throw new TypeError('Unknown encoding: ' + name);
        return f;
    };

    function makeBuffer() {
        class Buffer extends Uint8Array {
            constructor(v, a, b) {
                if (typeof v === 'string')
                    super(coder(decoders, a)(v));
                else
                    super(v, a, b);
            }
            static from(v, a, b) {
                if (typeof v === 'string')
                    return new Buffer(coder(decoders, a)(v));
                if (v instanceof ArrayBuffer)
                    return new Buffer(v, a, b);
                if (v && v.type === 'Buffer' && Array.isArray(v.data))
                    return new Buffer(v.data);
                return new Buffer(Array.from(v));
            }
            static alloc(n, fill, encoding) {
                const b = new Buffer(n);
                return fill === undefined ? b : b.fill(fill, 0, n, encoding);
            }
            static allocUnsafe(n) { return new Buffer(n); }
            static isBuffer(v) { return v instanceof Buffer; }
            static byteLength(v, encoding) {
                return typeof v === 'string'
                    ? coder(decoders, encoding)(v).length : v.byteLength;
            }
            static concat(list, n) {
                const all = list.flatMap((b) => Array.from(b));
                return new Buffer(n === undefined ? all : all.slice(0, n));
            }
            static compare(a, b) {
                for (let i = 0; i < Math.min(a.length, b.length); i++)
                    if (a[i] !== b[i])
                        return a[i] < b[i] ? -1 : 1;
                return Math.sign(a.length - b.length);
            }
            get parent() { return this.buffer; }
            toString(encoding, start = 0, end = this.length) {
                return coder(encoders, encoding)(
                    Array.from(this.subarray(start, end)));
            }
            toJSON() { return { type: 'Buffer', data: Array.from(this) }; }
            slice(a, b) { return this.subarray(a, b); }
            equals(b) { return Buffer.compare(this, b) === 0; }
            compare(b) { return Buffer.compare(this, b); }
            copy(to, at = 0, from = 0, end = this.length) {
                const part = Uint8Array.prototype.slice.call(
                    this, from, Math.min(end, from + to.length - at));
                to.set(part, at);
                return part.length;
            }
            write(s, at = 0, n, encoding) {
                if (typeof at === 'string') [at, encoding] = [0, at];
                if (typeof n === 'string') [n, encoding] = [undefined, n];
                const b = coder(decoders, encoding)(s)
                    .slice(0, Math.min(n ?? Infinity, this.length - at));
                this.set(b, at);
                return b.length;
            }
            fill(v, a, b, encoding) {
                if (typeof v !== 'string')
                    return super.fill(v, a, b);
                const bytes = coder(decoders, encoding)(v);
                for (let i = a ?? 0; i < (b ?? this.length); i++)
                    this[i] = bytes[(i - (a ?? 0)) % bytes.length];
                return this;
            }
            swap16() {
                for (let i = 0; i + 1 < this.length; i += 2)
                    [this[i], this[i + 1]] = [this[i + 1], this[i]];
                return this;
            }
            readUIntBE(at, n) {
                this.check(at, n);
                let v = 0;
                for (let i = 0; i < n; i++)
                    v = v * 256 + this[at + i];
                return v;
            }
            readUIntLE(at, n) {
                this.check(at, n);
                let v = 0;
                for (let i = n; i-- > 0;)
                    v = v * 256 + this[at + i];
                return v;
            }
            readIntBE(at, n) { return signed(this.readUIntBE(at, n), n); }
            readIntLE(at, n) { return signed(this.readUIntLE(at, n), n); }
            writeUIntBE(v, at, n) {
                this.check(at, n);
                for (let i = n; i-- > 0; v = Math.floor(v / 256))
                    this[at + i] = v;
                return at + n;
            }
            writeUIntLE(v, at, n) {
                this.check(at, n);
                for (let i = 0; i < n; i++, v = Math.floor(v / 256))
                    this[at + i] = v;
                return at + n;
            }
            check(at, n) {
                if (!(at >= 0 && at + n <= this.length))
                    throw new RangeError('Attempt to access memory outside' +
                                         ' buffer bounds');
            }
        }
        const signed = (v, n) => v >= 2 ** (8 * n - 1) ? v - 2 ** (8 * n) : v;
        const p = Buffer.prototype;
        p.writeIntBE = p.writeUIntBE;
        p.writeIntLE = p.writeUIntLE;
        const kinds = { UInt8: ['Uint8', 1], Int8: ['Int8', 1],
            UInt16: ['Uint16', 2], Int16: ['Int16', 2], UInt32: ['Uint32', 4],
            Int32: ['Int32', 4], Float: ['Float32', 4], Double: ['Float64', 8],
            BigUInt64: ['BigUint64', 8], BigInt64: ['BigInt64', 8] };
        for (const kind of Object.keys(kinds)) {
            const [native, n] = kinds[kind];
            for (const order of n === 1 ? [''] : ['LE', 'BE']) {
                const open = (b, at) => {
                    b.check(at, n);
                    return new DataView(b.buffer, b.byteOffset + at, n);
                };
                const read = function (at = 0) {
                    return open(this, at)['get' + native](0, order === 'LE');
                };
                const write = function (v, at = 0) {
                    open(this, at)['set' + native](0, v, order === 'LE');
                    return at + n;
                };
                for (const name of [kind, kind.replace('UI', 'Ui')]) {
                    p['read' + name + order] = read;
                    p['write' + name + order] = write;
                }
            }
        }
        for (const name of ['readUInt', 'writeUInt'])
            for (const order of ['BE', 'LE'])
                p[name.replace('UI', 'Ui') + order] = p[name + order];
        return Buffer;
    }

    return {
        atob: () => function atob(s) { return latin(fromBase64(s)); },
        btoa: () => function btoa(s) { return toBase64(binary(String(s))); },
        TextDecoder: makeTextDecoder,
        TextEncoder: makeTextEncoder,
        Buffer: makeBuffer,
    };
})()
