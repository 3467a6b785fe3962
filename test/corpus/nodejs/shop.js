// A shop's prices: the smallest application that has something to compute.
'use strict';

const http = require('node:http');

// The price of so many pieces: /total?price=1.25&pieces=4 is 5.00.
function total(query) {
  const cents = Math.round(Number(query.get('price')) * 100) * Number(query.get('pieces'));
  return Number.isFinite(cents) ? (cents / 100).toFixed(2) : null;
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://shop');
  if (url.pathname === '/healthz') {
    return response.end('ok\n');
  }
  if (url.pathname !== '/total') {
    return response.writeHead(404).end();
  }
  const sum = total(url.searchParams);
  if (sum === null) {
    return response.writeHead(400).end();
  }
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ total: sum }));
});

server.listen(8000);
process.on('SIGTERM', () => server.close(() => process.exit(0)));
