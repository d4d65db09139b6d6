// Calls to the hub. Every address is relative to the page, so that a hub below a path works too.

import type { Alert, LinkDetail, NetworkInfo, Outage, Place, Run, ScenarioRequest, Suspects } from './contract';

const API = new URL('api/v1/', document.baseURI);

/** The hub answered, and said no; `message` is its own sentence (RFC 9457 `detail`). */
export class HubError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

async function request(path: string, init?: RequestInit): Promise<Response> {
  const response = await fetch(new URL(path, API), init);
  if (response.ok) return response;
  let sentence = `${response.status} ${response.statusText}`;
  if (response.headers.get('content-type')?.includes('json')) {
    const problem = (await response.json()) as { detail?: unknown; title?: unknown };
    if (typeof problem.detail === 'string') sentence = problem.detail;
    else if (typeof problem.title === 'string') sentence = problem.title;
  }
  throw new HubError(response.status, sentence);
}

async function read<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await request(path, { signal })).json()) as T;
}

async function send<T>(path: string, body: unknown): Promise<T> {
  const headers = { 'content-type': 'application/json' };
  return (await (await request(path, { method: 'POST', headers, body: JSON.stringify(body) })).json()) as T;
}

const id = encodeURIComponent;

export const hub = {
  network: () => read<NetworkInfo>('network'),
  /** The hub lets browsers keep the geometry; naming the network keeps them from showing the last one's. */
  geometry: async (sha256: string) => (await request(`network/geometry?network=${id(sha256)}`)).arrayBuffer(),
  base: () => read<GeoJSON.FeatureCollection>('network/base'),
  alerts: async () => (await read<{ alerts: Alert[] }>('alerts?state=all')).alerts,
  link: (linkId: string, signal?: AbortSignal) => read<LinkDetail>(`links/${id(linkId)}`, signal),
  outage: () => read<Outage>('outage'),
  places: async () => (await read<{ places: Place[] }>('places')).places,
  suspects: () => read<Suspects>('suspects?limit=500'),
  acknowledge: (alertId: string | number) => send<Alert>(`alerts/${id(alertId)}/acknowledge`, {}),
  startScenario: (scenario: ScenarioRequest) => send<{ run_id: string }>('scenarios', scenario),
  run: (runId: string, signal?: AbortSignal) => read<Run>(`runs/${id(runId)}`, signal),
  liveAddress: () => {
    const address = new URL('live', API);
    address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
    return address;
  },
};
