// The sensors behind a link: what each last said, when, and whether it can be believed.

import type { LinkSensor } from '../contract';
import { clock, number, t } from '../language';
import { kindOf, wordingOf } from '../quantity';

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
          <tr key={sensor.sensor_id}>
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
              <div class={sensor.silent || sensor.stuck ? 'fault' : 'quiet'}>
                {t(sensor.silent ? 'sensorSilent' : sensor.stuck ? 'sensorStuck' : 'sensorOk')}
              </div>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function valueText(key: string, value: number | null | undefined): string {
  const { name, unit, digits, factor } = wordingOf(key);
  return `${name} ${number(value == null ? null : value * factor, digits)} ${unit}`.trimEnd();
}
