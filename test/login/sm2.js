// Encrypts and decrypts as login pages made with sm-crypto do: one request a line, one answer a line.
import { createInterface } from "node:readline";
import smCrypto from "sm-crypto";

const { sm2 } = smCrypto;
for await (const line of createInterface({ input: process.stdin })) {
  const q = JSON.parse(line);
  let answer;
  switch (q.op) {
    case "pair": answer = sm2.generateKeyPairHex(); break;
    case "encrypt": answer = sm2.doEncrypt(q.text, q.key, q.mode); break;
    case "decrypt": answer = sm2.doDecrypt(q.text, q.key, q.mode); break;
  }
  console.log(JSON.stringify(answer));
}
