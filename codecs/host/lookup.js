/*
 * lookup.js - runs after a codec's script, in its own scope, and finds what it
 * left there: functions, also those bound by const or let.
 */
({
    decodeUplink: typeof decodeUplink === 'undefined' ? undefined : decodeUplink,
    decodeDownlink:
        typeof decodeDownlink === 'undefined' ? undefined : decodeDownlink,
    encodeDownlink:
        typeof encodeDownlink === 'undefined' ? undefined : encodeDownlink,
    normalizeUplink:
        typeof normalizeUplink === 'undefined' ? undefined : normalizeUplink,
    Decoder: typeof Decoder === 'undefined' ? undefined : Decoder,
    Decode: typeof Decode === 'undefined' ? undefined : Decode,
    Encoder: typeof Encoder === 'undefined' ? undefined : Encoder,
    Encode: typeof Encode === 'undefined' ? undefined : Encode,
    module: typeof module === 'undefined' ? undefined : module,
    driver: typeof driver === 'undefined' ? undefined : driver,
    exports: typeof exports === 'undefined' ? undefined : exports,
})
