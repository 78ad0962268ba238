// A message centre of the npm package smpp. Says its port, and then each message it took. What it reads, as {"from", "text"}
// on a line, a telephone sends to whoever is logged in.
const smpp = require('smpp')

const say = (o) => process.stdout.write(JSON.stringify(o) + '\n')
let messages = 0
let last = null // session that hears

const server = smpp.createServer((session) => {
  session.on('error', () => {})
  const bind = (pdu) => {
    if (pdu.system_id !== 'peer' || pdu.password !== 'peerpass') {
      session.send(pdu.response({ command_status: smpp.ESME_RINVPASWD }))
      session.close()
      return
    }
    session.send(pdu.response({ system_id: 'npm' }))
    if (pdu.command === 'bind_transceiver') last = session
  }
  session.on('bind_transceiver', bind)
  session.on('bind_transmitter', bind)
  session.on('enquire_link', (pdu) => session.send(pdu.response()))
  session.on('unbind', (pdu) => { session.send(pdu.response()); session.close() })
  session.on('submit_sm', (pdu) => {
    const id = 'm' + (++messages)
    say({ number: pdu.destination_addr, text: pdu.short_message.message, coding: pdu.data_coding, report: pdu.registered_delivery })
    session.send(pdu.response({ message_id: id }))
    // The first number is switched off.
    const stat = pdu.destination_addr.endsWith('0') ? 'UNDELIV' : 'DELIVRD'
    const text = `id:${id} sub:001 dlvrd:001 submit date:2611240000 done date:2611240001 stat:${stat} err:000 text:`
    setTimeout(() => session.deliver_sm({ esm_class: 4, source_addr: pdu.destination_addr, destination_addr: pdu.source_addr, short_message: text }), 50)
  })
})
server.listen(0, '127.0.0.1', () => say({ port: server.address().port }))
require('readline').createInterface({ input: process.stdin })
  .on('line', (line) => {
    const m = JSON.parse(line)
    last.deliver_sm({ source_addr: m.from, destination_addr: '10690000', short_message: m.text }, (pdu) => say({ step: 'heard', status: pdu.command_status }))
  })
  .on('close', () => process.exit(0))
