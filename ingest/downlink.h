/*
 * downlink.h - a downlink as the network server's document (pure). Source:
 * ChirpStack v4 (and v3) command topic, The Things Stack v3 down/push.
 */
#pragma once

#include "ingest/ingest.h"
#include "server/base/buf.h"

/* Appends topic and document. ERR_UNSUPPORTED: a source without a way down;
 * ERR_FORMAT: the topic is none of an uplink's; ERR_RANGE: port or size. */
int downlink_build(const struct downlink *d, struct buf *topic,
                   struct buf *document);
