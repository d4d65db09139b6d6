// Names and units of what sensors measure; a key that is not listed is shown as it is.

import { language } from './language';

interface Quantity {
  en: string;
  zh: string;
  unit: string;
  digits: number;
  /** Shown value = stored value times this; shares are shown in percent. */
  factor?: number;
}

const QUANTITIES: Record<string, Quantity> = {
  flow_veh_h: { en: 'flow', zh: '流量', unit: 'veh/h', digits: 0 },
  speed_kmh: { en: 'speed', zh: '速度', unit: 'km/h', digits: 1 },
  occupancy: { en: 'occupancy', zh: '占有率', unit: '%', digits: 1, factor: 100 },
  count_veh: { en: 'count', zh: '计数', unit: 'veh', digits: 0 },
  travel_time_s: { en: 'travel time', zh: '行程时间', unit: 's', digits: 0 },
  density_veh_km: { en: 'density', zh: '密度', unit: 'veh/km', digits: 1 },
  queue_veh: { en: 'queue', zh: '排队', unit: 'veh', digits: 0 },
  parked_veh: { en: 'parked', zh: '停放', unit: 'veh', digits: 0 },
  spaces_veh: { en: 'spaces', zh: '车位', unit: 'veh', digits: 0 },
  headway_s: { en: 'headway', zh: '间隔', unit: 's', digits: 0 },
  crowding: { en: 'crowding', zh: '拥挤度', unit: '%', digits: 0, factor: 100 },
  events: { en: 'events', zh: '活动', unit: '', digits: 0 },
  passengers: { en: 'passengers', zh: '乘客', unit: '', digits: 0 },
  pm25_ug_m3: { en: 'PM2.5', zh: 'PM2.5', unit: 'µg/m³', digits: 0 },
  pm10_ug_m3: { en: 'PM10', zh: 'PM10', unit: 'µg/m³', digits: 0 },
  no2_ug_m3: { en: 'NO₂', zh: '二氧化氮', unit: 'µg/m³', digits: 0 },
  so2_ug_m3: { en: 'SO₂', zh: '二氧化硫', unit: 'µg/m³', digits: 0 },
  o3_ug_m3: { en: 'O₃', zh: '臭氧', unit: 'µg/m³', digits: 0 },
  co_mg_m3: { en: 'CO', zh: '一氧化碳', unit: 'mg/m³', digits: 1 },
  temperature_c: { en: 'temperature', zh: '温度', unit: '°C', digits: 1 },
  humidity: { en: 'humidity', zh: '湿度', unit: '%', digits: 0, factor: 100 },
  wind_speed_m_s: { en: 'wind', zh: '风速', unit: 'm/s', digits: 1 },
  rain_mm_h: { en: 'rain', zh: '降雨', unit: 'mm/h', digits: 1 },
  voltage_v: { en: 'voltage', zh: '电压', unit: 'V', digits: 1 },
  current_a: { en: 'current', zh: '电流', unit: 'A', digits: 2 },
  power_w: { en: 'power', zh: '功率', unit: 'W', digits: 0 },
  battery: { en: 'battery', zh: '电量', unit: '%', digits: 0, factor: 100 },
};

/** What alerts also tell of. */
const FINDINGS: Record<string, Quantity> = {
  free_speed_kmh: { en: 'free-flow speed', zh: '自由流速度', unit: 'km/h', digits: 0 },
  age_min: { en: 'silent for', zh: '无数据', unit: 'min', digits: 0 },
  unchanged_min: { en: 'unchanged for', zh: '数值不变', unit: 'min', digits: 0 },
};

export interface Wording {
  name: string;
  unit: string;
  digits: number;
  factor: number;
}

function inWords(quantity: Quantity): Wording {
  return { name: quantity[language.value], unit: quantity.unit, digits: quantity.digits, factor: quantity.factor ?? 1 };
}

export function wordingOf(key: string): Wording {
  return Object.hasOwn(QUANTITIES, key) ? inWords(QUANTITIES[key]) : { name: key, unit: '', digits: 2, factor: 1 };
}

/** Null for what is no quantity: ids, times, and what is nested. */
export function findingOf(key: string): Wording | null {
  if (Object.hasOwn(FINDINGS, key)) return inWords(FINDINGS[key]);
  return Object.hasOwn(QUANTITIES, key) ? wordingOf(key) : null;
}

const KINDS: Record<string, { en: string; zh: string }> = {
  detector: { en: 'detector', zh: '检测器' },
  loop: { en: 'loop', zh: '线圈' },
  camera: { en: 'camera', zh: '摄像机' },
  radar: { en: 'radar', zh: '雷达' },
  travel_time: { en: 'travel time', zh: '行程时间' },
  unverified: { en: 'not in the table of sensors', zh: '未登记' },
  air_station: { en: 'air station', zh: '空气站' },
  weather_station: { en: 'weather station', zh: '气象站' },
  rain_radar: { en: 'rain radar', zh: '测雨雷达' },
  car_park: { en: 'car park', zh: '停车场' },
  metro_station: { en: 'metro station', zh: '地铁站' },
  venue: { en: 'venue', zh: '场馆' },
  signal: { en: 'signal', zh: '信号灯' },
  controller: { en: 'controller', zh: '信号机' },
  cabinet: { en: 'cabinet', zh: '配电箱' },
  feeder: { en: 'feeder', zh: '馈线' },
  switch: { en: 'switch', zh: '交换机或开关' },
  transformer: { en: 'transformer', zh: '变压器' },
  substation: { en: 'substation', zh: '变电站' },
  lamp: { en: 'lamp', zh: '路灯' },
  bridge: { en: 'bridge', zh: '桥梁' },
};

export function kindOf(kind: string): string {
  return Object.hasOwn(KINDS, kind) ? KINDS[kind][language.value] : kind;
}
