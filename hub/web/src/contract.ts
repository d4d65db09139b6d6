// What the hub sends, field by field. Times are RFC 3339 UTC; null means unknown.

export interface Bilingual {
  en: string;
  zh: string;
}

export type SourceName = 'guessed' | 'estimated' | 'measured';
/** Order is the byte used in frames. */
export const SOURCES: readonly SourceName[] = ['guessed', 'estimated', 'measured'];

export interface NetworkInfo {
  name: string;
  name_zh: string;
  network_sha256: string;
  n_nodes: number;
  n_links: number;
  /** Longitude and latitude of the point from which geometry counts metres. */
  origin: [number, number];
  /** West, south, east, north in degrees. */
  bounds: [number, number, number, number];
  link_ids: string[];
  link_names_en: string[];
  link_names_zh: string[];
  /** 0 is the most important class, 3 the least. */
  link_class: number[];
  notes: string[];
  demo: boolean;
  timezone: string;
  /** City seconds per wall second; null when readings drive the clock, as in a replay. */
  clock_factor: number | null;
}

export interface Summary {
  time: string;
  /** Network speed over free-flow speed, 0..1. */
  speed_ratio: number | null;
  congested_km: number | null;
  delay_veh_h_per_h: number | null;
  sensors_reporting: number;
  sensors_total: number;
  estimate_error: { speed_kmh_mae: number | null; flow_veh_h_mae: number | null } | null;
}

export type Severity = 1 | 2 | 3 | 4;

export interface Alert {
  id: string | number;
  rule: string;
  severity: Severity;
  state: 'firing' | 'resolved';
  handling: 'new' | 'acknowledged';
  on: string;
  subject: string;
  link_id: string | null;
  lon: number | null;
  lat: number | null;
  since: string;
  updated: string;
  resolved_at: string | null;
  summary: Bilingual;
  where: Bilingual;
  labels: Record<string, string>;
  evidence: Record<string, unknown>;
  acknowledged: { by: string | null; at: string; comment: string | null } | null;
}

export type Suspicion = 'empty' | 'noisy' | 'biased' | 'scaled' | 'drifting' | 'swapped';

export interface LinkSensor {
  sensor_id: string;
  kind: string;
  quantities: string[];
  last_time: string | null;
  silent: boolean;
  stuck: boolean;
  /** It cannot be heard because of equipment that people declared failed; `because` says which. */
  dark: boolean;
  because: string;
  because_zh: string;
  /** How its neighbours and its own past contradict it; `reason` has the figures, in English. */
  suspected: Suspicion | null;
  reason: string | null;
  suspected_since: string | null;
  values: Record<string, number | null>;
}

export interface LinkHistory {
  time: string[];
  speed_kmh: (number | null)[];
  speed_low_kmh: (number | null)[];
  speed_high_kmh: (number | null)[];
  flow_veh_h: (number | null)[];
  source: SourceName[];
}

export interface LinkState {
  time: string;
  speed_kmh: number | null;
  speed_sd_kmh: number | null;
  flow_veh_h: number | null;
  flow_sd_veh_h: number | null;
  /** Between these the true value lies nine times in ten. */
  speed_low_kmh: number | null;
  speed_high_kmh: number | null;
  flow_low_veh_h: number | null;
  flow_high_veh_h: number | null;
  density_veh_km: number | null;
  source: SourceName;
  measured_at: string | null;
  /** Passages of vehicles that tell where they are, of the last minutes and fading. */
  probe_vehicles: number | null;
}

export interface LinkDetail {
  link_id: string;
  name: Bilingual;
  length_m: number;
  lanes: number;
  free_speed_kmh: number;
  capacity_veh_h: number | null;
  /** Columns of the network that nobody measured, for example `lanes`. */
  assumed: string[];
  state: LinkState;
  sensors: LinkSensor[];
  /** What is wrong with the equipment of this link and of the junction at its end. */
  equipment: string[];
  equipment_zh: string[];
  history: LinkHistory;
  /** The demo's street itself, which the twin never sees. */
  truth: { speed_kmh: number | null; flow_veh_h: number | null } | null;
}

export type AssetCondition = 'failed' | 'dark' | 'unheard' | 'on_battery';

export interface OutAsset {
  asset_id: string;
  kind: string;
  name: string;
  name_zh: string;
  lon_lat: [number, number] | null;
  link_id: string;
  state: AssetCondition;
  because: string;
  because_zh: string;
  since: string | null;
  /** When the battery will be empty. */
  dark_at?: string | null;
  failure: { since: string; author: string; reason: string } | null;
}

export interface Outage {
  counts: Record<AssetCondition, number>;
  dark_sensors: number;
  /** The worst first, and no more than a page can show. */
  assets: OutAsset[];
}

export const THEMES = ['weather', 'air', 'parking', 'transit', 'event'] as const;
export type Theme = (typeof THEMES)[number];
/** 0 ordinary, 1 raised, 2 high. */
export type Level = 0 | 1 | 2;

/** A zone, station or point where something other than traffic is measured. */
export interface Place {
  sensor_id: string;
  theme: Theme;
  kind: string;
  owner: string;
  asset_id: string;
  on: 'zone' | 'station' | 'point';
  zone_id: string;
  link_id: string;
  name: string;
  name_zh: string;
  lon_lat: [number, number] | null;
  silent: boolean;
  stuck: boolean;
  dark: boolean;
  because: string;
  because_zh: string;
  values: { quantity: string; unit: string; value: number | null; level: Level; time: string | null }[];
  /** Of a car park: parked over spaces. */
  full_share: number | null;
  level: Level;
  time: string | null;
  age_s: number | null;
}

export type SuspectCode = 'silent' | 'stuck' | Suspicion;

/** A sensor that is not believed, one row for each fault. */
export interface Suspect {
  sensor_id: string;
  kind: string;
  owner: string;
  link_id: string | null;
  lon_lat: [number, number] | null;
  code: SuspectCode;
  quantity: string | null;
  parameters: Record<string, number | string | null>;
  reason: string;
  since: string | null;
}

export interface Suspects {
  counts: Record<SuspectCode, number>;
  /** The newest first, and no more than a page can show. */
  suspects: Suspect[];
}

export interface RunSummary {
  total_time_spent_veh_h: number;
  total_delay_veh_h: number;
  arrived: number;
}

export interface ScenarioRequest {
  name: string;
  /** Seconds from the start of the run, which is now in the city. */
  close: { links: string[]; from_s: number; until_s: number }[];
  horizon_s: number;
}

export interface Run {
  run_id: string;
  state: 'running' | 'done' | 'failed';
  /** 0..1; 0 while nobody knows. */
  progress: number;
  error?: string | null;
  name?: string;
  basis?: Bilingual;
  baseline?: RunSummary;
  scenario?: RunSummary;
  difference?: { total_time_spent_veh_h: number; total_delay_veh_h: number; arrived: number };
  links?: { link_ids: string[]; delay_change_veh_h: number[] };
}

export type LiveMessage =
  | { type: 'hello'; network_sha256?: string }
  | { type: 'alert'; alert: Alert }
  | { type: 'asset' }
  | { type: 'summary'; summary: Summary };
