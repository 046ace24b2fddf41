"""O diálogo: quem fala com o servidor, o que se espera que ele responda, e a fita do que passou pelo fio."""

import collections
import json
import re
import socket
import struct
import time

PRAZO = 10.0
"""Segundos que se espera pelo que tem de acontecer, se ninguém diz outra coisa."""

FECHOU = None
"""No lugar de uma linha: o fim do fluxo."""


AVISOS = "AVISO:", '{"comando":"aviso"'
POSICOES = "FILA:", '{"comando":"fila"'
"""Como começam as linhas que o servidor pode mandar sem que se tenha feito nada."""

DO_SERVIDOR = "NOME:", "FILA:", "CONECTADO:", "AVISO:", "FIM:", "[", "{"
"""Como começam todas as linhas dele. A primeira, se não começa assim, é uma saudação, que o protocolo não tem."""


class Fio:
    """Uma conexão crua com o servidor, e o que se faz com ela: mandar, ler linhas, ir embora de três jeitos."""

    def __init__(
        self, endereco: tuple, nome: str = "", buffers: int | None = None, prazo: float = PRAZO, sock=None
    ) -> None:
        """`buffers` são os bytes que o sistema guarda de cada lado; `sock`, uma conexão que já existe."""
        self.nome = nome
        self.sock = sock or socket.socket()
        self.sock.settimeout(prazo)
        if sock is None:
            if buffers is not None:  # antes de conectar: depois, a janela já foi combinada
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
            try:
                self.sock.connect(endereco[:2])
            except OSError:
                self.sock.close()
                raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # cada envio é um segmento
        self._prontas: collections.deque[bytes] = collections.deque()  # linhas inteiras ainda não lidas
        self._resto = b""

    def envia(self, *linhas: str | bytes) -> None:
        """Manda tudo num envio só. Um `str` é uma linha e ganha o seu `\\n`; `bytes` vão como estão."""
        self.manda(b"".join(item if isinstance(item, bytes) else f"{item}\n".encode() for item in linhas))

    def linha(self) -> str | None:
        """A próxima linha que o outro mandou, ou `FECHOU`."""
        while not self._prontas:
            dados = self.recebe()
            if not dados:
                if self._resto:
                    raise ConnectionError(f"o fluxo acabou no meio de uma linha: {self._resto!r}")
                return FECHOU
            *prontas, self._resto = (self._resto + dados).split(b"\n")
            self._prontas.extend(prontas)
        return self._prontas.popleft().decode()

    def manda(self, dados: bytes) -> None:
        self.sock.sendall(dados)

    def recebe(self) -> bytes:
        return self.sock.recv(65536)

    def tem_o_que_ler(self, espera: float = 0.0) -> bool:
        """Diz se o outro mandou algo, ou o manda em até `espera` segundos."""
        if self._prontas:
            return True
        prazo = self.sock.gettimeout()
        self.sock.settimeout(espera)
        try:
            self.sock.recv(1, socket.MSG_PEEK)  # e não `select`, que recusa descritores acima de 1023
        except (BlockingIOError, TimeoutError):
            return False
        except ConnectionError:
            pass  # o fim também se lê
        finally:
            self.sock.settimeout(prazo)
        return True

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


class Falha(Exception):
    """Não aconteceu o que a regra diz: o que se esperava, e o que veio."""

    def __init__(self, esperado: str, veio: str) -> None:
        super().__init__(f"esperado: {esperado}; veio: {veio}")
        self.esperado = esperado
        self.veio = veio


class Fita:
    """O que passou pelo fio, na ordem em que se viu, para mostrar a quem errou."""

    MAXIMO = 60
    """Linhas guardadas. De um diálogo mais comprido mostram-se o começo e o fim."""

    def __init__(self) -> None:
        self.linhas: list[str] = []

    def anota(self, quem: str, sentido: str, dados: bytes | str) -> None:
        """`sentido` é `C → S` ou `S → C`; um `str` é o que houve com a conexão, e não bytes dela."""
        if isinstance(dados, bytes):
            dados = f"{len(dados):>5} {'byte ' if len(dados) == 1 else 'bytes'}  {_legivel(dados)}"
        self.linhas.append(f"{quem:<6} {sentido}  {dados}")
        if len(self.linhas) > self.MAXIMO:
            meio = self.MAXIMO // 2
            self.linhas[meio : meio + 2] = ["[...]"]


def _legivel(dados: bytes) -> str:
    """O texto e, quando o texto não diz tudo, também os bytes; do que é muito, o começo e o fim."""
    if len(dados) > 120:
        return f"{_legivel(dados[:60])} ... {_legivel(dados[-40:])}"
    texto = repr(dados.decode("utf-8", "replace"))
    return texto if texto.isascii() else f"{texto}   {dados!r}"


class Participante(Fio):
    """Quem fala com o servidor numa regra: cada passo tem prazo, e tudo vai para a fita.

    Um `dict`, em `envia` e em `espera`, é uma linha de JSON; ao recebê-la, chaves a mais não importam.
    """

    IDA, VOLTA = "C → S", "S → C"

    MAXIMO_LIDO = 4 * 1024 * 1024
    """Bytes. Quem recebe mais que isto está sendo inundado: nenhuma regra pede tanto."""

    def __init__(self, endereco: tuple, nome: str, fita: Fita, prazo: float, limite: float, **opcoes) -> None:
        """`prazo` são os segundos de cada passo; `limite`, quando a regra inteira acaba, pelo relógio monotônico."""
        super().__init__(endereco, nome, prazo=prazo, **opcoes)
        self.fita = fita
        self.prazo = prazo
        self.limite = limite
        self.lidas: list[str | None] = []  # as linhas, na ordem
        self._prefixos: dict[str, str] = {}  # de cada um que devia vir antes de um texto, o que veio
        self._recebidos = 0  # bytes
        self._inundados = 0  # bytes
        self._ate = 0.0  # quando acaba o passo

    # O que se faz.

    def envia(self, *linhas: str | bytes | dict) -> None:
        em_texto = [json.dumps(item, ensure_ascii=False) if isinstance(item, dict) else item for item in linhas]
        self.sock.settimeout(self.prazo)
        try:
            super().envia(*em_texto)
        except TimeoutError:
            raise Falha("o servidor lê o que se manda", f"não leu, em {self.prazo:g} s") from None
        except OSError:  # ele já fechou: quem espera a resposta é que o vai dizer
            self.fita.anota(self.nome, self.IDA, "(não saiu: a conexão está fechada)")

    def manda(self, dados: bytes) -> None:
        self.fita.anota(self.nome, self.IDA, dados)
        super().manda(dados)

    def inunda(self, linha: str, bytes_: int) -> int:
        """Repete a linha até mandar `bytes_`, ou até que o servidor deixe de ler por um instante; diz quantos foram."""
        bloco, antes = f"{linha}\n".encode() * 16, self._inundados
        self.sock.settimeout(0.3)
        try:
            while self._inundados < antes + bytes_:
                self._inundados += self.sock.send(bloco[self._inundados % len(bloco) :])
        except OSError:
            pass
        self.fita.anota(self.nome, self.IDA, f"{self._inundados - antes} bytes, sem parar: {linha[:20]!r}...")
        return self._inundados - antes

    def espera(self, *linhas: str | dict | None, direto: bool = False, exatas: bool = False) -> None:
        """As próximas linhas têm de ser estas; se não se diz que são `exatas`, o que vem antes do texto pode ser outro.

        Um `AVISO:` pode vir a qualquer hora, e é pulado; a posição na fila também, se não é ela que se espera nem se
        diz que o esperado vem `direto`; e a saudação de quem fala antes da hora.
        """
        for esperada in linhas:
            self._novo_passo()
            puladas = AVISOS if direto or _comeca(esperada, POSICOES) else AVISOS + POSICOES
            while not self._serve(esperada, chegou := self._proxima(_mostrar(esperada)), exatas):
                if not _comeca(chegou, puladas) and not self._saudou(chegou):
                    raise Falha(self._le(_mostrar(esperada)), _mostrar(chegou))

    def pede(self, linha: str | bytes | dict, *resposta: str | dict | None) -> None:
        """Manda uma linha e espera a resposta."""
        self.envia(linha)
        self.espera(*resposta)

    def ate(self, comeco: str | tuple[str, ...]) -> str:
        """Lê até uma linha que comece assim (ou de um destes jeitos), e a devolve: o caminho até o que se confere."""
        self._novo_passo()
        while True:
            chegou = self._proxima(f"uma linha que começa por {comeco!r}")
            if chegou is FECHOU:
                raise Falha(self._le(f"uma linha que começa por {comeco!r}"), _mostrar(chegou))
            if chegou.startswith(comeco):
                return chegou

    def alguma(self, exigida: bool = True) -> str | None:
        """A próxima linha, qualquer que seja; se não é exigida, `None` quando não vem."""
        self._novo_passo(self.prazo if exigida else self.prazo / 2)
        try:
            return self._proxima("alguma resposta")
        except Falha:
            if exigida:
                raise
            return None

    def pergunta(self) -> None:
        """Lê a resposta ao tipo, qualquer que seja, e também uma saudação que venha antes dela."""
        if self._saudou(self.alguma()):
            self.alguma(exigida=False)

    def nada_chegou(self, espera: float = 0.0) -> None:
        """Até agora, ou até daqui a `espera` segundos, o servidor não disse nada que não se tenha lido."""
        if self.tem_o_que_ler(espera):
            raise Falha(self._le("nada, por enquanto"), _mostrar(self.alguma()))

    def nao_leu(self, trecho: str) -> None:
        """Nenhuma das linhas lidas traz este trecho."""
        for linha in self.lidas:
            if linha and trecho in linha:
                raise Falha(self._le(f"nada que traga {trecho!r}"), _mostrar(linha))

    def leu_uma_vez(self, linha: str) -> None:
        if (vezes := self.lidas.count(linha)) != 1:
            raise Falha(self._le(f"{_mostrar(linha)}, uma vez"), f"{vezes} vezes")

    # Como se lê.

    def _novo_passo(self, prazo: float | None = None) -> None:
        self._ate = min(time.monotonic() + (prazo or self.prazo), self.limite)

    def _serve(self, esperada: str | dict | None, linha: str | None, exatas: bool) -> bool:
        """Diz se a linha é a esperada. O que vem antes do texto pode ser outra coisa, contanto que sempre a mesma."""
        com_prefixo = isinstance(esperada, str) and re.fullmatch(r"(\[.*?\]: |CONECTADO:)(.*)", esperada)
        if exatas or not com_prefixo or linha is FECHOU or not linha.endswith(com_prefixo[2]):
            return _igual(esperada, linha)
        prefixo, veio = com_prefixo[1], linha.removesuffix(com_prefixo[2])
        return (prefixo[0] == "[" or veio.startswith(prefixo)) and self._prefixos.setdefault(prefixo, veio) == veio

    def _saudou(self, linha: str | None) -> bool:
        return self.lidas == [linha] and linha is not FECHOU and not linha.startswith(DO_SERVIDOR)

    def _le(self, o_que: str) -> str:
        return f"{self.nome} lê {o_que}" if self.nome else o_que

    def _proxima(self, esperado: str) -> str | None:
        """A próxima linha ou `FECHOU`; `Falha` se ela não vem, não acaba, ou não é texto."""
        try:
            linha = self.linha()
        except TimeoutError:
            veio = f"nada em {self.prazo:g} s"
            if self.lidas:
                veio += f", depois de {_mostrar(self.lidas[-1])}"
            if self._resto:
                veio += f"; só meia linha, sem o \\n: {self._resto[:60]!r}"
            raise Falha(self._le(esperado), veio) from None
        except ConnectionError:
            raise Falha(self._le(esperado), f"o fim do fluxo no meio de uma linha: {self._resto[:60]!r}") from None
        except UnicodeDecodeError as erro:
            raise Falha(self._le(esperado), f"bytes que não são UTF-8: {erro.object[:60]!r}") from None
        linha = linha and linha.removesuffix("\r")  # há quem o mande, e não conta
        self.lidas.append(linha)
        return linha

    def recebe(self) -> bytes:
        # Nunca zero, que deixaria o socket sem espera: o que já chegou se lê sempre.
        self.sock.settimeout(max(self._ate - time.monotonic(), 0.001))
        try:
            dados = self.sock.recv(65536)
        except ConnectionError:
            self.fita.anota(self.nome, self.VOLTA, "(a conexão foi desfeita: RST)")
            return b""
        self.fita.anota(self.nome, self.VOLTA, dados or "(fim do fluxo)")
        self._recebidos += len(dados)
        if self._recebidos > self.MAXIMO_LIDO:
            raise Falha("poucas linhas de resposta", f"{self._recebidos} bytes, e não para")
        if time.monotonic() > self._ate + self.prazo:
            raise TimeoutError  # chega sempre mais, e não o que se espera
        return dados


def _mostrar(linha: str | dict | None) -> str:
    if linha is FECHOU:
        return "o fim do fluxo"
    texto = json.dumps(linha, ensure_ascii=False) if isinstance(linha, dict) else repr(linha)
    return texto if len(texto) <= 120 else f"{texto[:60]} ... {texto[-40:]} ({len(texto)} caracteres)"


def _comeca(linha: str | dict | None, comecos: tuple[str, ...]) -> bool:
    """Diz se a linha, em texto ou em JSON, é um destes comandos."""
    texto = json.dumps(linha) if isinstance(linha, dict) else linha or ""
    return texto.replace(" ", "").startswith(comecos)


def _igual(esperada: str | dict | None, chegou: str | None) -> bool:
    if not isinstance(esperada, dict) or chegou is FECHOU:
        return esperada == chegou
    try:
        objeto = json.loads(chegou)
    except (ValueError, RecursionError):
        return False
    return isinstance(objeto, dict) and esperada.items() <= objeto.items()
