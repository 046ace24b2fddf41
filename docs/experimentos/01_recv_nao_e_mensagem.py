"""Um `recv` não é uma mensagem: duas chegam coladas, e uma chega partida no meio de um acento."""

import socket

from experimento import certo, conferir, conserto, errado, porque, titulo, ver

from protocolo import SeparadorDeLinhas

titulo("Um recv é uma mensagem?")
print("Yuri manda com sendall, Ana lê com recv(1024) e toma o que vier por uma mensagem.")

titulo("1. Duas mensagens, um recv")
yuri, ana = socket.socketpair()
yuri.sendall("Olá!".encode())
yuri.sendall("Tudo bem?".encode())
while len(ana.recv(1024, socket.MSG_PEEK)) < len("Olá!Tudo bem?".encode()):
    pass  # espia, sem tirar nada, até os dois terem chegado
coladas = ana.recv(1024)
ver("Yuri mandou", [b"Ol\xc3\xa1!", b"Tudo bem?"])
ver("um recv de Ana trouxe", coladas)
conferir(coladas == "Olá!Tudo bem?".encode(), "as duas mensagens coladas")
errado("Ana mostra uma mensagem só: " + coladas.decode())

titulo("2. Uma mensagem, dois recv")
mensagem = "Não chegou".encode()
corte = mensagem.index(b"\xa3")  # no meio dos dois bytes do ã
yuri.sendall(mensagem[:corte])
metade = ana.recv(1024)
yuri.sendall(mensagem[corte:])
outra_metade = ana.recv(1024)
ver("Yuri mandou", mensagem)
ver("dois recv de Ana trouxeram", [metade, outra_metade])
try:
    metade.decode()
    conferir(False, "o decode falhar no meio do acento")
except UnicodeDecodeError as erro:
    errado(f"o decode de Ana falha: {erro.reason}")

porque("""TCP entrega um fluxo de bytes, na ordem e sem faltar nenhum. Onde acaba cada mensagem, não
diz: os cortes são os que a rede fez. Quem quer mensagens tem de marcar onde elas acabam.""")

conserto("uma linha por mensagem")
separador = SeparadorDeLinhas()
fluxo = "Olá!\nTudo bem?\nNão chegou\n".encode()
linhas = []
for tamanho in (5, 13, len(fluxo)):  # cortes ruins de propósito: o segundo, no meio do ã
    pedaco, fluxo = fluxo[:tamanho], fluxo[tamanho:]
    yuri.sendall(pedaco)
    saiu = separador.alimentar(ana.recv(1024))
    linhas += saiu
    ver("recv trouxe, e o separador deu", f"{pedaco!r:<24} {saiu}")
conferir(linhas == ["Olá!", "Tudo bem?", "Não chegou"], "as três linhas inteiras")
certo(f"três mensagens, sejam quais forem os cortes: {linhas}")
print("\nNo projeto: protocolo.py, a classe SeparadorDeLinhas.")
yuri.close(), ana.close()
