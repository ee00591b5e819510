/*
 * tenant_codec.h - one version of a tenant's payload codec, in force: script,
 * mapping, and where it is run. Counted: the directory holds one, and each
 * frame between its resolving and its decoding.
 */
#pragma once

#include "codecs/codec.h"
#include "codecs/script/script.h"

struct tenant_codec; /* opaque */

/* `s` must outlive it. A mapping that cannot be read is told by every decode.
 */
struct tenant_codec *tenant_codec_new(struct scripts *s, int32_t tenant_id,
                                      const char *name, uint32_t version,
                                      int16_t codec_version_id,
                                      struct str script, struct str mapping);
/* Any thread. */
struct tenant_codec *tenant_codec_ref(struct tenant_codec *c);
void tenant_codec_unref(struct tenant_codec *c); /* NULL is fine */

/* Before a version is kept: can the mapping be read, do the vectors pass? What
 * may be absent may be empty. Their number, or what is wrong in *why:
 * ERR_FORMAT, ERR_CONFLICT (a vector differs), ERR_AWAY (no codec-host). */
int tenant_codec_prove(struct scripts *s, int32_t tenant_id, struct str script,
                       struct str mapping, struct str vectors, struct arena *a,
                       struct str *why);

/* Name and version, as every codec has them; its `decode` is NULL. */
const struct codec *tenant_codec_face(const struct tenant_codec *c);
int16_t tenant_codec_version_id(const struct tenant_codec *c);

/* As codec_decode(), on a thread that may wait. `time_us`: when the frame was
 * heard. On failure *reason is for quarantine: decode_failed,
 * codec_quarantined, codec_host_lost. d->error lives in the arena. */
int tenant_codec_decode(const struct tenant_codec *c,
                        const struct codec_input *in, int64_t time_us,
                        struct arena *arena, struct decoded *d,
                        const char **reason);
