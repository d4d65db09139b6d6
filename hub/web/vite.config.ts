import { defineConfig } from 'vite';

// `base: './'`: the hub may be served below any path. The proxy is for `npm run dev` against a running hub.
export default defineConfig({
  base: './',
  build: { outDir: '../static', emptyOutDir: true, target: 'es2022', chunkSizeWarningLimit: 1500 },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  server: { proxy: { '/api': { target: 'http://127.0.0.1:8000', ws: true } } },
});
