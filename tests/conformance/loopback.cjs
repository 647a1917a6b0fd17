// Loaded before the suite's server. That would listen on all addresses, and is for this machine alone; and it would close
// connections just when a cache takes one up again after the suite's pauses, which says nothing of the cache.
const { Server } = require('node:net')

const listen = Server.prototype.listen
Server.prototype.listen = function (port, ...others) {
  this.keepAliveTimeout = 12000
  return listen.call(this, Number(port), '127.0.0.1', ...others)
}
