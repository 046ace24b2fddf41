"""O participante de teste: alguém na outra ponta do fio, com dois verbos, `envia` e `espera`."""

import collections
import select
import socket
import struct

PRAZO = 10.0
"""Segundos que se espera pelo que tem de acontecer. Só se esgotam num teste que falha."""

FECHOU = None
"""No lugar de uma linha: o fim do fluxo."""


class Participante:
    """Uma conexão crua com o servidor. Toda espera tem prazo, e o texto que chega tem de ser UTF-8."""

    def __init__(self, endereco: tuple, nome: str = "", buffers: int | None = None) -> None:
        self.nome = nome
        self.sock = socket.socket()
        if buffers is not None:  # bytes; antes de conectar: depois, a janela já foi combinada
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        self.sock.settimeout(PRAZO)
        try:
            self.sock.connect(endereco[:2])
        except OSError:
            self.sock.close()
            raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._prontas: collections.deque[bytes] = collections.deque()  # linhas inteiras ainda não lidas
        self._resto = b""

    def envia(self, *linhas: str | bytes) -> None:
        """Manda tudo num envio só. Um `str` é uma linha e ganha o seu `\\n`; `bytes` vão como estão."""
        self.sock.sendall(b"".join(item if isinstance(item, bytes) else f"{item}\n".encode() for item in linhas))

    def linha(self) -> str | None:
        """A próxima linha que o servidor mandou, ou `FECHOU`."""
        while not self._prontas:
            dados = self.sock.recv(65536)
            if not dados:
                if self._resto:  # só acontece a quem foi cortado por não ler
                    raise ConnectionError(f"o fluxo acabou no meio de uma linha: {self._resto!r}")
                return FECHOU
            *prontas, self._resto = (self._resto + dados).split(b"\n")
            self._prontas.extend(prontas)
        linha = self._prontas.popleft()
        assert len(linha) < 4096, "nenhuma linha do servidor passa de 4096 bytes"
        return linha.decode()

    def espera(self, *linhas: str | None) -> None:
        """As próximas linhas têm de ser exatamente estas."""
        for esperada in linhas:
            chegou = self.linha()
            assert chegou == esperada, f"{self.nome or 'alguém'} esperava {esperada!r} e recebeu {chegou!r}"

    def le_ate(self, ultima: str | None) -> list[str | None]:
        """Lê até a linha `ultima`, inclusive; devolve as que vieram antes dela."""
        antes = []
        while (linha := self.linha()) != ultima:
            assert linha is not FECHOU, f"{self.nome or 'alguém'} esperava {ultima!r}, e a conexão acabou"
            antes.append(linha)
        return antes

    def tem_o_que_ler(self, espera: float = 0.0) -> bool:
        """Diz se o servidor mandou algo, ou o manda em até `espera` segundos."""
        return bool(self._prontas or select.select([self.sock], [], [], espera)[0])

    def para_de_escrever(self) -> None:
        """Fecha só a sua metade da conexão."""
        self.sock.shutdown(socket.SHUT_WR)

    def some(self) -> None:
        """Desfaz a conexão com um RST, sem se despedir."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def fecha(self) -> None:
        """Fecha a conexão; pode ser chamada mais de uma vez."""
        self.sock.close()


class Anfitriao:
    """Um servidor, do ponto de vista de quem se conecta a ele."""

    def __init__(self, endereco: tuple) -> None:
        self.endereco = endereco
        self.participantes: list[Participante] = []  # os que ele recebeu, para fechar no fim

    def conecta(self, nome: str = "", buffers: int | None = None) -> Participante:
        """Alguém que ainda não disse nada."""
        participante = Participante(self.endereco, nome, buffers)
        self.participantes.append(participante)
        return participante

    def entra(self, tipo: str, nome: str, *linhas: str, **opcoes) -> Participante:
        """Alguém identificado, que já leu `linhas`: só depois delas se sabe que entrou na fila."""
        participante = self.conecta(nome, **opcoes)
        participante.envia(tipo)
        participante.espera("NOME:")
        participante.envia(nome)
        participante.espera(*linhas)
        return participante

    def cliente(self, nome: str, *linhas: str, **opcoes) -> Participante:
        return self.entra("CLIENTE", nome, *linhas, **opcoes)

    def atendente(self, nome: str, *linhas: str, **opcoes) -> Participante:
        return self.entra("ATENDENTE", nome, *linhas, **opcoes)

    def par(self, cliente: str = "Yuri", atendente: str = "Ana", **opcoes) -> tuple[Participante, Participante]:
        """Um cliente e um atendente que já conversam. As opções são das conexões dos dois."""
        a = self.atendente(atendente, "FILA:OK", **opcoes)
        c = self.cliente(cliente, f"CONECTADO:{atendente}", **opcoes)
        a.espera(f"CONECTADO:{cliente}")
        return c, a

    def fecha_participantes(self) -> None:
        for participante in self.participantes:
            participante.fecha()
