// The demo's dashboard: a WebSocket, and a fetch, as dashboards have them.
(() => {
  'use strict';

  const byId = (id) => document.getElementById(id);
  // The last minute, before the first message comes.
  const rates = Array.from({ length: 60 }, (_, at) => Math.round(9 + 4 * Math.sin(at / 7) + 3 * Math.sin(at / 2.3)));
  let sent = 48120;

  const trouble = (text) => {
    const box = byId('trouble');
    const link = document.createElement('a');
    link.href = location.pathname + location.search + location.hash;
    link.textContent = 'Load the page again';
    box.replaceChildren(`${text} `, link);
    box.hidden = false;
  };

  const connection = (text, state) => {
    byId('connection').textContent = text;
    byId('connection').className = `connection ${state}`;
  };

  const draw = () => {
    const most = Math.max(12, ...rates);
    const points = rates.map((rate, at) => `${(at * 600 / 59).toFixed(1)},${(116 - rate * 108 / most).toFixed(1)}`);
    byId('chart').querySelector('.line').setAttribute('d', `M${points.join('L')}`);
    byId('chart').querySelector('.area').setAttribute('d', `M0,120L${points.join('L')}L600,120Z`);
  };

  // Each message of the server has the time, and the number of messages in the last second.
  const show = ({ time, rate }) => {
    sent += rate;
    rates.shift();
    rates.push(rate);
    byId('clock').textContent = time;
    byId('sent').textContent = sent.toLocaleString('en');
    byId('waiting').textContent = String(8 + rate % 9);
    draw();
  };

  const listen = () => {
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/dashboard/live`);
    let wasOpen = false;
    socket.addEventListener('open', () => { wasOpen = true; connection('Live', 'live'); });
    socket.addEventListener('message', (event) => show(JSON.parse(event.data)));
    socket.addEventListener('close', () => {
      connection('Not connected', 'lost');
      trouble(wasOpen
        ? 'The connection was closed: you are logged out, or may not open this dashboard any more.'
        : 'The live figures can’t be reached.');
    });
  };

  // Who is logged in, as Gatepost tells the dashboard with every request.
  const ask = async () => {
    const response = await fetch('/dashboard/login', { headers: { accept: 'application/json' } });
    if (response.status === 401) return trouble('Your session has ended.');
    if (!response.ok) return trouble(`The login can’t be shown (status ${response.status}).`);
    const login = await response.json();
    byId('who').textContent = login.user;
    byId('who').title = login.user;
    for (const name of ['user', 'account', 'permissions']) byId(name).textContent = login[name];
    return undefined;
  };

  draw();
  listen();
  ask().catch(() => trouble('The dashboard can’t be reached.'));
})();
