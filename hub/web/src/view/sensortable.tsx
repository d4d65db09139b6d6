// The sensors behind a link: what each last said, when, and whether it can be believed.

import { Fragment } from 'preact';
import type { LinkSensor } from '../contract';
import { clock, moment, number, t } from '../language';
import { kindOf, wordingOf } from '../quantity';
import { Reason } from './reason';

export function SensorTable({ sensors }: { sensors: LinkSensor[] }) {
  if (sensors.length === 0) return <p class="empty">{t('noSensors')}</p>;
  return (
    <table class="rows sensors">
      <thead>
        <tr>
          <th scope="col">{t('sensor')}</th>
          <th scope="col">{t('lastValues')}</th>
          <th scope="col">{t('lastTime')}</th>
        </tr>
      </thead>
      <tbody>
        {sensors.map((sensor) => (
          <Fragment key={sensor.sensor_id}>
            <tr class={hasReason(sensor) ? 'explained' : ''}>
              <td>
                {sensor.sensor_id}
                <div class="quiet">{kindOf(sensor.kind)}</div>
              </td>
              <td>
                {sensor.quantities.map((key) => (
                  <div key={key}>{valueText(key, sensor.values[key])}</div>
                ))}
              </td>
              <td>
                {sensor.last_time === null ? t('never') : clock(sensor.last_time, { seconds: true })}
                <Faults sensor={sensor} />
              </td>
            </tr>
            {hasReason(sensor) && (
              <tr class="why">
                <td colSpan={3}>
                  <Why sensor={sensor} />
                </td>
              </tr>
            )}
          </Fragment>
        ))}
      </tbody>
    </table>
  );
}

const hasReason = (sensor: LinkSensor): boolean => sensor.dark || sensor.suspected !== null;

/** Everything that is wrong: a sensor may be suspected and have fallen silent since. Dark says why it is silent. */
function Faults({ sensor }: { sensor: LinkSensor }) {
  const faults = [
    sensor.dark && t('sensorDark'),
    sensor.suspected !== null && t('sensorSuspected'),
    sensor.silent && !sensor.dark && t('sensorSilent'),
    sensor.stuck && !sensor.silent && !sensor.dark && t('sensorStuck'),
  ].filter((fault) => fault !== false);
  if (faults.length === 0) return <div class="quiet">{t('sensorOk')}</div>;
  return faults.map((fault) => (
    <div key={fault} class="fault">
      <span aria-hidden="true">⚠ </span>
      {fault}
    </div>
  ));
}

function Why({ sensor }: { sensor: LinkSensor }) {
  return (
    <>
      {sensor.dark && (
        <>
          <div>{t('darkNote')}</div>
          <Reason text={{ en: sensor.because, zh: sensor.because_zh }} />
        </>
      )}
      {sensor.suspected !== null && (
        <>
          <div>{t('suspectedSince', { how: t(`suspected_${sensor.suspected}`), time: sinceText(sensor) })}</div>
          <Reason text={{ en: sensor.reason ?? '', zh: '' }} />
        </>
      )}
    </>
  );
}

function sinceText(sensor: LinkSensor): string {
  return sensor.suspected_since === null ? t('unknown') : moment(sensor.suspected_since);
}

function valueText(key: string, value: number | null | undefined): string {
  const { name, unit, digits, factor } = wordingOf(key);
  return `${name} ${number(value == null ? null : value * factor, digits)} ${unit}`.trimEnd();
}
