"""Grava a captura de exemplo: o servidor de verdade, quatro conversas e o dumpcap escutando o loopback.

    python docs/wireshark/capturar.py [arquivo.pcapng]        (Linux, com o tshark; pede root ou o grupo wireshark)

Cada passo espera a resposta do anterior, e a captura acaba quando o último pacote aparece nela.
"""

import os
import re
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

RAIZ = Path(__file__).resolve().parent.parent.parent
PRAZO = 20.0  # segundos que um passo espera pelo anterior
# No pcapng, os blocos em que o dumpcap descreve o computador: o byte em que as opções começam, e as que o dizem.
DO_COMPUTADOR = {0x0A0D0D0A: (24, {2, 3}), 1: (16, {12})}

ACK, FIN_ACK = 0x10, 0x11  # as bandeiras de um segmento TCP que só confirma, e do que fecha


class Captura:
    """O dumpcap, desde que já escuta até ver passar o que se espera."""

    def __init__(self, porta: int) -> None:
        comando = ["dumpcap", "-q", "-i", "lo", "-f", f"tcp port {porta}", "-w", "-"]
        self.processo = subprocess.Popen(comando, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self.gravado = b""
        try:
            self._espera_que_escute()
        except OSError:
            self.encerrar()
            raise

    def __enter__(self) -> "Captura":
        return self

    def __exit__(self, *_) -> None:
        if self.processo.poll() is None:
            self.encerrar()

    def ate(self, marca: bytes) -> None:
        """Espera que a expressão regular `marca` combine com o que foi gravado."""
        while not re.search(marca, self.gravado, re.DOTALL):
            pedaco = self._ler(self.processo.stdout)
            if not pedaco:
                raise EOFError("o dumpcap parou antes da hora")
            self.gravado += pedaco

    def encerrar(self) -> bytes:
        """O arquivo inteiro, em pcapng."""
        self.processo.terminate()
        resto, _ = self.processo.communicate(timeout=PRAZO)
        return self.gravado + resto

    def _espera_que_escute(self) -> None:
        dito = b""
        while b"File:" not in dito:
            pedaco = self._ler(self.processo.stderr)
            if not pedaco:
                raise PermissionError(dito.decode(errors="replace").strip())
            dito += pedaco

    @staticmethod
    def _ler(fluxo) -> bytes:
        if not select.select([fluxo], [], [], PRAZO)[0]:
            raise TimeoutError("o dumpcap não diz nada")
        return os.read(fluxo.fileno(), 65536)


class Alguem:
    """Quem se conecta ao servidor: manda bytes, e espera por outros."""

    def __init__(self, porta: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", porta), PRAZO)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # um segmento por envio
        self.porta = self.sock.getsockname()[1]
        self.lido = b""

    def manda(self, *pedacos: bytes) -> None:
        for pedaco in pedacos:
            self.sock.sendall(pedaco)
            self._espera_o_ack()

    def espera(self, marca: bytes) -> None:
        while marca not in self.lido:
            dados = self.sock.recv(65536)
            if not dados:
                raise EOFError(f"a conexão acabou antes de {marca!r}")
            self.lido += dados

    def vai_embora(self) -> None:
        """Fecha, e espera que o servidor feche também."""
        self.sock.shutdown(socket.SHUT_WR)
        self.e_mandado_embora()

    def e_mandado_embora(self) -> None:
        """Espera que o servidor feche, e fecha."""
        while self.sock.recv(65536):
            pass
        self.sock.close()

    def some(self) -> None:
        """Desfaz a conexão com um RST, sem se despedir."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _espera_o_ack(self) -> None:
        """Só com o anterior confirmado o próximo pedaço sai num segmento seu."""
        limite = time.monotonic() + PRAZO
        while self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 36)[24:28] != b"\0" * 4:
            if time.monotonic() > limite:
                raise TimeoutError("o servidor não confirma")


def segmento(de: int, para: int, bandeiras: int) -> bytes:
    """A expressão regular de um segmento TCP entre as duas portas."""
    return re.escape(struct.pack(">HH", de, para)) + b".{9}" + re.escape(bytes([bandeiras]))


def enredo(porta: int) -> bytes:
    """Texto e JSON, linhas partidas e coladas, uma senha em claro, uma transferência e quatro despedidas.

    Devolve a expressão regular do último pacote.
    """
    ana, yuri, bia, intruso = (Alguem(porta) for _ in range(4))
    ana.manda(b"ATENDENTE:*\n")
    ana.espera(b"SENHA:\n")
    ana.manda(b"segredo\n")
    ana.espera(b"NOME:\n")
    ana.manda(b"Ana\n")
    ana.espera(b"FILA:OK\n")
    yuri.manda(b"CLI", b"ENTE\n")
    yuri.espera(b"NOME:\n")
    yuri.manda(b"Yuri\n")
    yuri.espera(b"DEPARTAMENTO:")
    yuri.manda(b"vendas\n")
    yuri.espera(b"CONECTADO:Ana\n")
    ana.espera(b"CONECTADO:Yuri\n")
    dados = "Olá! Não chegou o meu pedido.\nÉ o 1234.\nObrigado 😀\n".encode()
    corte = dados.index("ã".encode()) + 1  # no meio do ã
    yuri.manda(dados[:corte], dados[corte:])
    ana.espera("Obrigado 😀\n".encode())
    ana.manda("[Ana]: Um momento, vou passar para o Suporte.\n".encode(), b"PAUSA:\n", b"TRANSFERIR:Suporte\n")
    ana.espera("AVISO:Você está em pausa.\n".encode())
    yuri.espera(b"FILA:1\n")
    yuri.manda(b"FILA:\n")
    yuri.espera(b"atendentes online: 0")
    ana.manda(b"VOL")  # uma linha que não chega a acabar
    ana.vai_embora()
    bia.manda('{"comando":"atendente","nome":"Bia","departamento":["Suporte"],"senha":"segredo"}\n'.encode())
    bia.espera(b'"conectado"')
    bia.manda(r'{"comando":"mensagem","texto":"Ol\u00e1, Yuri! \ud83d\ude00"}'.encode() + b"\n")
    yuri.espera("😀\n".encode())
    yuri.manda("[Yuri]: Oi, Bia.\n".encode())
    bia.espera(b"Oi, Bia.")
    bia.manda(b'{"comando":"fim"}\n')
    yuri.espera(b"FIM:")
    yuri.e_mandado_embora()
    bia.espera(b'"fila"')
    bia.some()
    intruso.manda(b"GET / HTTP/1.1\r\n\r\n")
    intruso.espera(b"FIM:")
    intruso.e_mandado_embora()
    return segmento(intruso.porta, porta, FIN_ACK) + b".*" + segmento(porta, intruso.porta, ACK)


def anonimo(arquivo: bytes) -> bytes:
    """O mesmo pcapng, sem o processador e o sistema de quem o gravou."""
    saida = b""
    while arquivo:
        tipo, tamanho = struct.unpack_from("=II", arquivo)
        bloco, arquivo = arquivo[:tamanho], arquivo[tamanho:]
        if tipo in DO_COMPUTADOR:
            inicio, retiradas = DO_COMPUTADOR[tipo]
            corpo, opcoes = bloco[8:inicio], bloco[inicio:-4]
            while opcoes:
                codigo, ocupa = struct.unpack_from("=HH", opcoes)
                ocupa = 4 + (ocupa + 3) // 4 * 4
                corpo += b"" if codigo in retiradas else opcoes[:ocupa]
                opcoes = opcoes[ocupa:]
            moldura = struct.pack("=I", len(corpo) + 12)
            bloco = struct.pack("=I", tipo) + moldura + corpo + moldura
        saida += bloco
    return saida


def main() -> int:
    destino = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("conversa.pcapng")
    comando = [sys.executable, "servidor.py", "--host", "127.0.0.1", "--departamentos", "Vendas,Suporte"]
    comando += ["--senha-atendentes", "segredo"]
    with subprocess.Popen(comando, cwd=RAIZ, stdout=subprocess.PIPE, text=True) as servidor:
        try:
            anuncio = re.search(r"porta (\d+)", servidor.stdout.readline())
            if anuncio is None:
                return 1  # o servidor já disse por que não subiu
            porta = int(anuncio[1])
            with Captura(porta) as captura:
                captura.ate(enredo(porta))
                destino.write_bytes(anonimo(captura.encerrar()))
        finally:
            servidor.terminate()
    return 0


if __name__ == "__main__":
    if "-h" in sys.argv or "--ajuda" in sys.argv:
        sys.exit(__doc__)
    try:
        sys.exit(main())
    except FileNotFoundError:
        sys.exit("Falta o dumpcap, que vem com o Wireshark e com o tshark.")
    except (OSError, EOFError) as erro:
        sys.exit(f"Não foi possível capturar: {erro}.")
