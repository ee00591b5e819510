# The rooms and the arrows between them (see each folder's README).
room(server/base
  SOURCES err.c str.c mem.c arena.c buf.c hex.c decimal.c clock.c log.c json.c
          json_write.c framer.c hash.c conf.c csv.c nets.c
  NEEDS PkgConfig::sodium PkgConfig::isal)
room(server/vault
  SOURCES seal.c master.c vault.c keyring.c key_csv.c passport_rows.c
  USES base NEEDS PkgConfig::sodium)
room(server/loop SOURCES loop.c pulse.c USES base NEEDS PkgConfig::uv)
room(schema
  SOURCES obis.c unit.c quantity.c event.c event_code.c frame.c reading.c normalise.c
  USES base)
room(codecs
  SOURCES registry.c loaded.c recognise.c decoded.c extras.c mbus_record.c mbus_vif.c
          mbus.c mbus_records.c
          mbus_format.c mbus_crypt.c mbus_security.c mbus_telegram.c
          mbus_fixed.c mbus_frame.c wmbus.c wmbus_maker.c
          elvaco_cmi41.c elvaco_cme.c heo_json.c heo_command.c
          crc16.c cosem.c sml.c iec62056_21_frame.c
          iec62056_21_words.c iec62056_21_line.c iec62056_21.c axdr.c dlms_link.c
          dlms_glo.c dlms_list.c dlms_event.c dlms_body.c dlms_push.c dlms_vectors.c vega_si11.c pulsar.c karat_928lw.c ts003.c
  USES base schema NEEDS PkgConfig::crypto)
room(codecs/script SOURCES wire.c host.c script.c mapping_read.c mapping.c vectors.c
  USES base schema codecs)
room(codecs/host SOURCES engine.c scripts.c sandbox.c USES base script
  NEEDS PkgConfig::jsc PkgConfig::seccomp)
include(codecs/host/embed.cmake)
room(server/tls SOURCES client.c tls.c certificate.c proxy.c greeting.c USES base loop
  NEEDS PkgConfig::ssl PkgConfig::crypto PkgConfig::sodium)
room(server/http SOURCES http.c request.c peer.c lines.c secure.c tunnel.c target.c
  USES base loop tls NEEDS PkgConfig::mhd)
room(timesvc SOURCES zone.c interval.c evidence.c reconcile.c policy.c
          cron.c slots.c sntp.c USES base schema NEEDS PkgConfig::glib)
room(server/store
  SOURCES conn.c pg.c copy.c batch.c note.c run.c writer.c watch.c migrate.c column.c meter.c frame.c
          reading.c balance.c gap.c quarantine.c
  USES base loop schema NEEDS PkgConfig::pq)
include(migrations/embed.cmake)
room(ingest
  SOURCES segment.c reader.c journal_dir.c journal_room.c journal.c ledger.c admit.c quota.c directory.c
          uplink.c chirpstack.c tts.c link.c slot.c mqtt.c
          downlink.c receipt.c replies.c heo_session.c socket.c
          conn.c conns.c tcp.c ingest.c
  USES base loop tls schema vault)
room(ingest/bridge SOURCES bridge.c broker.c gate.c USES base loop ingest NEEDS ${PAHO_MQTT})
room(server/clocks
  SOURCES model_bytes.c book.c contact.c request.c hand.c judge.c row.c visit.c keeper.c
          contact_plan.c slotting.c own.c
  USES loop codecs timesvc schema store)
room(server/downlink SOURCES kinds.c notes.c ways.c queue.c
  USES ingest codecs clocks schema store)
room(server/pipeline
  SOURCES feed.c feed_keys.c stage.c unlock.c capture.c backlog.c pipeline.c progress.c replay.c strangers.c
          reconcile.c examine.c tenant_codec.c
  USES ingest codecs script timesvc schema store vault clocks)
room(server/deliver SOURCES signature.c post.c deliver.c
  USES base loop store vault NEEDS PkgConfig::sodium PkgConfig::curl)
room(server/report SOURCES plan.c reports.c USES base loop timesvc store)
room(server/oidc SOURCES token.c fetch.c provider.c USES base
  NEEDS PkgConfig::sodium PkgConfig::crypto PkgConfig::curl)
room(server/api
  SOURCES api.c rights.c auth.c limit.c fields.c etag.c run.c list.c password.c gate.c
          openapi.c login.c accounts.c audit.c tenants.c models.c
          codecs.c meters.c points.c events.c feed.c readings.c
          totp.c secret.c factor.c approvals.c meter_keys.c passports.c integrations.c signup.c oidc.c
          frames.c ledger.c gaps.c clocks.c commands.c quarantine.c webhooks.c reports.c health.c
  USES http schema store timesvc vault deliver oidc NEEDS PkgConfig::sodium PkgConfig::crypto)
include(server/api/embed.cmake)
room(server/cli
  SOURCES cli.c help.c settings.c db.c table.c migrate_cmd.c tenant_cmd.c tenant_remove_cmd.c
          account_cmd.c audit_cmd.c
          integration_cmd.c meter_cmd.c passport_cmd.c codecs_cmd.c codec_cmd.c
          codec_diff.c decode_cmd.c decode_show.c
          decode_script.c trace_cmd.c
          replay_cmd.c ledger_cmd.c gaps_cmd.c clock_cmd.c command_cmd.c quarantine_cmd.c report_cmd.c secrets.c
          keys_cmd.c meter_keys_cmd.c boot.c metrics.c serve_open.c serve_run.c serve_stop.c
          serve.c
  USES api pipeline downlink bridge report vault script)
