/*
 * event.c - the table of event codes. Sources: the makers' own journals (UM-31,
 * HEO leaflet), the status byte of EN 13757-3 and the server's own findings.
 * A condition that lasts uses one code with the states start and end.
 */
#include "schema/event.h"

#define INFO     SEVERITY_INFO
#define WARNING  SEVERITY_WARNING
#define CRITICAL SEVERITY_CRITICAL

static const struct event_type types[] = {
    /* supply and the meter itself */
    {"power.off", WARNING, "Meter power off"},
    {"power.on", INFO, "Meter power on"},
    {"power.interrupted", WARNING, "Supply interrupted"},
    {"power.long_outage", WARNING, "Outage of more than ten hours"},
    {"power.backup", INFO, "Backup supply in use"},
    {"clock.corrected", INFO, "Clock corrected"},
    {"clock.dst", INFO, "Daylight saving time began or ended"},
    {"clock.drift", WARNING, "Clock drifts more than allowed"},
    {"clock.jump", WARNING, "Meter clock jumped"},
    {"clock.invalid", WARNING, "Meter clock is not valid"},
    {"register.reset", CRITICAL, "Accumulated registers reset"},
    {"register.cleared", WARNING, "Error or alarm register cleared"},
    {"log.cleared", WARNING, "Event log cleared"},
    {"profile1.init", WARNING, "Load profile 1 initialised"},
    {"profile2.init", WARNING, "Load profile 2 initialised"},
    {"tariff.changed", INFO, "Tariff schedule changed"},
    {"meter.programmed", WARNING, "Meter reprogrammed"},
    {"key.changed", WARNING, "Key of the meter changed"},
    {"access.changed", WARNING, "Password of the meter changed"},
    {"firmware.ready", INFO, "Firmware ready to be activated"},
    {"firmware.updated", WARNING, "Firmware updated"},
    {"firmware.failed", CRITICAL, "Firmware update failed"},
    {"params.changed", WARNING, "Conversion parameters changed"},
    {"archive.full", WARNING, "Archive full"},
    {"relay.off", WARNING, "Load relay opened"},
    {"relay.on", INFO, "Load relay closed"},
    {"relay.allowed", INFO, "Load relay may be closed"},
    {"input.changed", INFO, "Digital input changed"},
    {"selftest.failed", CRITICAL, "Self-test failed"},
    {"selftest.ok", INFO, "Self-test passed"},

    /* tampering */
    {"tamper.cover_open", CRITICAL, "Terminal cover opened"},
    {"tamper.cover_close", INFO, "Terminal cover closed"},
    {"tamper.case_open", CRITICAL, "Case opened"},
    {"tamper.case_close", INFO, "Case closed"},
    {"tamper.battery_cover_open", CRITICAL, "Battery bay opened"},
    {"tamper.battery_cover_close", INFO, "Battery bay closed"},
    {"tamper.magnet", CRITICAL, "Magnetic field"},
    {"tamper.rf", CRITICAL, "Radio interference field"},
    {"tamper.sensor", CRITICAL, "External seal or sensor disturbed"},
    {"access.denied", WARNING, "Access denied by the meter"},
    {"access.locked", WARNING, "Meter interface locked"},

    /* electricity network */
    {"phase.a.lost", WARNING, "Phase A lost"},
    {"phase.a.restored", INFO, "Phase A restored"},
    {"phase.b.lost", WARNING, "Phase B lost"},
    {"phase.b.restored", INFO, "Phase B restored"},
    {"phase.c.lost", WARNING, "Phase C lost"},
    {"phase.c.restored", INFO, "Phase C restored"},
    {"phase.sequence", WARNING, "Wrong phase sequence"},
    {"phase.break", WARNING, "Phase conductor broken"},
    {"neutral.break", CRITICAL, "Neutral conductor broken"},
    {"limit.energy.total", WARNING, "Energy limit exceeded, all tariffs"},
    {"limit.energy.tariff", WARNING, "Energy limit exceeded, tariff"},
    {"limit.energy.t1", WARNING, "Energy limit exceeded, tariff 1"},
    {"limit.energy.t2", WARNING, "Energy limit exceeded, tariff 2"},
    {"limit.energy.t3", WARNING, "Energy limit exceeded, tariff 3"},
    {"limit.energy.t4", WARNING, "Energy limit exceeded, tariff 4"},
    {"voltage.a.high", WARNING, "Overvoltage, phase A"},
    {"voltage.a.low", WARNING, "Undervoltage, phase A"},
    {"voltage.b.high", WARNING, "Overvoltage, phase B"},
    {"voltage.b.low", WARNING, "Undervoltage, phase B"},
    {"voltage.c.high", WARNING, "Overvoltage, phase C"},
    {"voltage.c.low", WARNING, "Undervoltage, phase C"},
    {"voltage.ab.high", WARNING, "Line voltage AB high"},
    {"voltage.ab.low", WARNING, "Line voltage AB low"},
    {"voltage.bc.high", WARNING, "Line voltage BC high"},
    {"voltage.bc.low", WARNING, "Line voltage BC low"},
    {"voltage.ca.high", WARNING, "Line voltage CA high"},
    {"voltage.ca.low", WARNING, "Line voltage CA low"},
    {"voltage.high", WARNING, "Overvoltage, some phase"},
    {"voltage.low", WARNING, "Undervoltage, some phase"},
    {"voltage.unbalance", WARNING, "Voltages out of balance"},
    {"voltage.quality", WARNING, "Voltage quality outside the norm"},
    {"current.a.high", WARNING, "Overcurrent, phase A"},
    {"current.b.high", WARNING, "Overcurrent, phase B"},
    {"current.c.high", WARNING, "Overcurrent, phase C"},
    {"current.a.reverse", WARNING, "Current flows back, phase A"},
    {"current.a.transformer_break", CRITICAL,
     "Current transformer broken, phase A"},
    {"current.a.without_voltage", CRITICAL, "Current without voltage, phase A"},
    {"current.b.reverse", WARNING, "Current flows back, phase B"},
    {"current.b.transformer_break", CRITICAL,
     "Current transformer broken, phase B"},
    {"current.b.without_voltage", CRITICAL, "Current without voltage, phase B"},
    {"current.c.reverse", WARNING, "Current flows back, phase C"},
    {"current.c.transformer_break", CRITICAL,
     "Current transformer broken, phase C"},
    {"current.c.without_voltage", CRITICAL, "Current without voltage, phase C"},
    {"current.high", WARNING, "Overcurrent, some phase"},
    {"current.unbalance", WARNING, "Currents out of balance"},
    {"current.transformer_short", CRITICAL, "Current transformer shorted"},
    {"current.relay_open", CRITICAL, "Current flows though the relay is open"},
    {"frequency.high", WARNING, "Frequency high"},
    {"frequency.low", WARNING, "Frequency low"},
    {"power.limit", WARNING, "Power limit exceeded"},
    {"power.p_import.limit", WARNING, "Active import limit exceeded"},
    {"power.p_export.limit", WARNING, "Active export limit exceeded"},
    {"power.q_import.limit", WARNING, "Reactive import limit exceeded"},
    {"power.q_export.limit", WARNING, "Reactive export limit exceeded"},
    {"power.unbalance", WARNING, "Powers of phases out of balance"},
    {"power_factor.low", WARNING, "Reactive share above the limit"},
    {"energy.reverse", CRITICAL, "Reverse energy flow"},

    /* gas */
    {"gas.leak", CRITICAL, "Gas leak"},
    {"gas.flow_high", WARNING, "Gas flow above the limit"},
    {"gas.flow_reverse", WARNING, "Gas flows backwards"},
    {"gas.temp_high", WARNING, "Gas temperature high"},
    {"gas.temp_low", WARNING, "Gas temperature low"},
    {"gas.sensor_fault", WARNING, "Gas sensor fault"},
    {"valve.open", INFO, "Valve open"},
    {"valve.closed", INFO, "Valve closed"},
    {"valve.fault", CRITICAL, "Valve fault"},

    /* battery and modem */
    {"battery.low", WARNING, "Battery low"},
    {"battery.critical", CRITICAL, "Battery critical"},
    {"modem.signal_low", INFO, "Weak radio signal"},
    {"link.lost", WARNING, "No contact for more than two periods"},
    {"comm.lost", WARNING, "Communication lost"},
    {"comm.up", INFO, "Communication restored"},

    /* EN 13757-3 status byte */
    {"device.installed", INFO, "Device announces itself"},
    {"device.busy", INFO, "Device busy"},
    {"device.app_error", WARNING, "Device application error"},
    {"device.alarm", CRITICAL, "Device alarm"},
    {"device.permanent_error", CRITICAL, "Device permanent error"},
    {"device.temporary_error", WARNING, "Device temporary error"},
    {"device.error", WARNING, "Error flags of the device are set"},
    {"mfr.bit5", INFO, "Manufacturer status bit 5"},
    {"mfr.bit6", INFO, "Manufacturer status bit 6"},
    {"mfr.bit7", INFO, "Manufacturer status bit 7"},

    /* commands */
    {"command.done", INFO, "Command carried out"},
    {"command.failed", WARNING, "Command failed"},

    /* what the server finds */
    {"device.unknown", WARNING, "Frame of an unregistered device"},
    {"frame.bad_crc", WARNING, "Frame with a wrong checksum"},
    {"decrypt.failed", WARNING, "Decryption failed"},
    {"mac.failed", CRITICAL, "Authentication code does not fit"},
    {"replay.detected", CRITICAL, "Frame replayed"},
    {"register.rollback", WARNING, "Cumulative register went back"},
    {"register.jump", WARNING, "Register rose implausibly"},
    {"reading.conflict", WARNING, "Same time, other values"},
    {"data.gap", WARNING, "Data missing"},
    {"frame.gap", INFO, "Frame counters missing"},
    {"meter.identity_mismatch", WARNING, "Telegram names another meter"},
    {"duplicate.session", WARNING, "Meter connected twice"},
};

const char *severity_name(enum severity s)
{
    static const char *const names[] = {"debug", "info", "warning", "critical"};
    return (unsigned)s <= SEVERITY_CRITICAL ? names[s] : "?";
}

const char *event_state_name(enum event_state s)
{
    static const char *const names[] = {"pulse", "start", "end"};
    return (unsigned)s <= EVENT_END ? names[s] : "?";
}

const struct event_type *event_type(struct str code)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        if (str_is(code, types[i].code))
            return &types[i];
    }
    return NULL;
}
