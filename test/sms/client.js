// A client of the npm package smpp: node client.js PORT USER PASSWORD NUMBER. Says what became of each step.
const smpp = require('smpp')

const [port, user, password, number] = process.argv.slice(2)
const say = (o) => process.stdout.write(JSON.stringify(o) + '\n')
const session = smpp.connect({ url: `smpp://127.0.0.1:${port}` })
session.on('error', (e) => { say({ error: String(e) }); process.exit(1) })
session.on('connect', () => {
  session.bind_transceiver({ system_id: user, password }, (bound) => {
    say({ step: 'bind', status: bound.command_status })
    if (bound.command_status !== 0) return session.close(() => process.exit(0))
    session.enquire_link({}, (alive) => say({ step: 'enquire_link', status: alive.command_status }))
    session.submit_sm({ source_addr: '10690000', destination_addr: number, registered_delivery: 1, short_message: '【监测】巡检' }, (taken) => {
      say({ step: 'submit_sm', status: taken.command_status, id: taken.message_id })
    })
  })
})
session.on('deliver_sm', (pdu) => {
  say({ step: 'deliver_sm', esm_class: pdu.esm_class, text: pdu.short_message.message })
  session.send(pdu.response())
  session.unbind({}, (gone) => { say({ step: 'unbind', status: gone.command_status }); process.exit(0) })
})
