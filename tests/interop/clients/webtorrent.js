// Downloads one torrent with webtorrent over TCP: node webtorrent.js TORRENT|MAGNET FOLDER PORT
'use strict'

const WebTorrent = require('webtorrent')

const [source, folder, port] = process.argv.slice(2)
const client = new WebTorrent({
  dht: false,
  lsd: false,
  utp: false,
  webSeeds: false,
  natUpnp: false,
  natPmp: false,
  torrentPort: Number(port),
  tracker: { wrtc: false }
})

const fail = (error) => {
  console.error(error)
  process.exit(1)
}

client.on('error', fail)
client.add(source, { path: folder }, (torrent) => {
  torrent.on('warning', (warning) => console.error('warning:', warning.message ?? warning))
  torrent.on('error', fail)
  torrent.on('done', () => client.destroy(() => process.exit(0)))
})
