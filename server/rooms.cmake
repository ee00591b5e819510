# The rooms and the arrows between them (see each folder's README).
room(server/base
  SOURCES err.c str.c mem.c arena.c buf.c hex.c decimal.c clock.c log.c json.c
          framer.c hash.c conf.c
  NEEDS PkgConfig::sodium PkgConfig::isal)
room(server/loop SOURCES loop.c USES base NEEDS PkgConfig::uv)
room(schema
  SOURCES obis.c unit.c quantity.c event.c frame.c reading.c normalise.c
  USES base)
room(codecs
  SOURCES registry.c decoded.c extras.c mbus_record.c mbus_vif.c mbus.c
          elvaco_cmi41.c heo_json.c heo_command.c
  USES base schema)
room(timesvc SOURCES zone.c reconcile.c USES base schema NEEDS PkgConfig::glib)
room(server/http SOURCES http.c request.c target.c USES base loop NEEDS PkgConfig::mhd)
room(server/store
  SOURCES conn.c pg.c copy.c batch.c writer.c watch.c migrate.c meter.c frame.c
          reading.c
  USES base loop schema NEEDS PkgConfig::pq)
include(migrations/embed.cmake)
room(ingest
  SOURCES segment.c reader.c journal_dir.c journal.c admit.c directory.c
          uplink.c chirpstack.c tts.c link.c slot.c mqtt.c
          replies.c heo_session.c conn.c tcp.c ingest.c
  USES base loop schema)
room(ingest/bridge SOURCES bridge.c broker.c USES base loop ingest NEEDS ${PAHO_MQTT})
room(server/pipeline
  SOURCES feed.c stage.c capture.c pipeline.c replay.c
  USES ingest codecs timesvc schema store)
room(server/api
  SOURCES api.c auth.c list.c meters.c readings.c frames.c health.c
  USES http schema store)
room(server/cli
  SOURCES cli.c settings.c db.c table.c migrate_cmd.c tenant_cmd.c
          integration_cmd.c meter_cmd.c codecs_cmd.c trace_cmd.c replay_cmd.c
          boot.c metrics.c serve.c
  USES api pipeline bridge)
