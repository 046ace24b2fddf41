"""O rastro: o que cada thread recebe, envia, espera e tem na mão, à vista de uma sala inteira.

Nada no servidor sabe que está sendo observado. Com `--rastro` ele trabalha com sockets, conexões e travas que fazem o
mesmo que os de verdade, e contam; só a trava das filas se segura um pouco mais, para que se veja quem espera por ela
(`LENTE`). Sem a opção, com os de verdade. O que se conta vai para o terminal,

    15:02.123 Yuri     <-          'Olá!\\n'
    15:02.124 Yuri     -> Ana      '[Yuri]: Olá!\\n'
    15:02.124 Bia      .. trava    esperou 0,3 ms por Yuri

ou, com `--rastro aula.jsonl`, para um arquivo, de que `docs/filme.py` faz um filme. Quem conta pode ter a trava ou uma
vez na mão, e por isso só põe o acontecimento na memória: quem o escreve é outra thread.
"""

import dataclasses
import enum
import itertools
import json
import logging
import queue
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from atendimento import maquina
from atendimento.conexao import Conexao
from atendimento.filas import Filas
from atendimento.linha import largura_total
from atendimento.registro import motivo
from atendimento.terminal import colorir, e_terminal, usar_cores
from protocolo import MAXIMO_DA_LINHA, SENHA_OCULTA, Comando, Json, Texto, Tipo, formato_de, limpar

log = logging.getLogger("fila.rastro")

PALETA = ("ciano", "amarelo", "verde", "magenta", "azul", "vermelho")
"""As cores das conexões, uma depois da outra."""

COLUNA = 8
"""Caracteres de um nome no terminal; o que passar é cortado. Com isto o rastro cabe em 60 colunas."""

_LINHAS = re.compile(rb"[^\n]*\n|[^\n]+")

_OCULTA = SENHA_OCULTA.encode()
# O valor vai até as aspas que o fecham, se é um texto; senão, até o fim da linha.
_CAMPO_SENHA = re.compile(rb'"senha"\s*:\s*"?((?<=")(?:[^"\\\n]|\\.?)*|(?<!")[^\n]*)')


class Que(enum.Enum):
    """O que pode acontecer."""

    RECEBEU = "recebeu"  # um recv
    GUARDOU = "guardou"  # pôs linhas na caixa de alguém
    ENVIOU = "enviou"  # um send: o que o sistema aceitou
    SOBROU = "sobrou"  # ficou na caixa o que o sistema não aceitou
    FIM = "fim"  # mandou o fim do fluxo
    QUER = "quer"  # pediu a trava, ou uma vez, e ela não está livre
    TOMOU = "tomou"
    SOLTOU = "soltou"
    ESPEROU = "esperou"  # depois de soltar: quanto, e por quem
    FILAS = "filas"  # as filas e os pares mudaram


@dataclass(slots=True)
class Acontecimento:
    """Algo que esta thread fez."""

    que: Que
    com: str = ""  # a thread que lê o socket, ou de quem é a caixa ou a vez; vazio se é a própria, ou a trava
    dados: bytes = b""  # o que passou, ou entrou na caixa
    nota: str = ""
    caixa: int = 0  # bytes que ficaram nela
    segundos: float = 0.0  # que se esperou...
    por: str = ""  # ...por esta thread
    filas: "Retrato | None" = None
    quem: str = field(default_factory=lambda: threading.current_thread().name)
    quando: float = field(default_factory=time.time)


@dataclass(slots=True)
class Retrato:
    """As filas num instante, por nomes de participantes."""

    clientes: list[str]
    atendentes: list[str]
    pares: list[tuple[str, str]]  # (cliente, atendente)

    @classmethod
    def de(cls, filas: Filas) -> "Retrato":
        """Exige a trava."""
        pares = [
            (estado.conversa.cliente, estado.conversa.atendente)
            for quem, estado in filas.user_states.items()
            if estado.par is not None and quem.tipo is quem.tipo.CLIENTE
        ]
        clientes, atendentes = ([quem.nome for quem in fila] for fila in (filas.fila_clientes, filas.fila_atendentes))
        return cls(clientes, atendentes, pares)


# --- Para onde vai o que se conta -----------------------------------------------------------------


class Rastro:
    """Mostra no terminal, pelo log, o que uma sala acompanha: o que entra, o que sai, e as esperas.

    `em_bytes` mostra cada linha como ela vai no fio, e não como se lê.
    """

    MOSTRADOS = {Que.RECEBEU: "<-", Que.ENVIOU: "->", Que.FIM: "->", Que.SOBROU: "->", Que.ESPEROU: ".."}
    """O que se mostra, e a sua seta. O mais é tanto que não se leria."""

    def __init__(self, em_bytes: bool = False) -> None:
        self.em_bytes = em_bytes
        self._cores = usar_cores(sys.stdout)

    def contar(self, acontecimento: Acontecimento) -> None:
        """Só mexe em memória: quem escreve o texto é a thread do log."""
        if acontecimento.que in self.MOSTRADOS:
            log.info("%s", _AoMostrar(self._no_terminal, acontecimento))

    def iniciar(self) -> None:
        """Já há a quem observar; `OSError` se não há onde o contar."""

    def encerrar(self) -> None:
        """Ninguém mais tem o que contar."""

    def _no_terminal(self, visto: Acontecimento) -> str:
        """Uma linha, ou uma para cada linha que um `recv` ou um `send` levou."""
        linhas, nota = self.linhas(visto.dados)
        com = visto.com
        if visto.que is Que.ESPEROU:
            linhas, com = [_espera(visto)], f"vez {_em_uma_palavra(com)}"[:COLUNA] if com else "trava"
        nota = visto.nota or nota
        hora = f"{time.strftime('%M:%S', time.localtime(visto.quando))}.{int(visto.quando % 1 * 1000):03}"
        comeco = f"{hora} {self._coluna(visto.quem)} {self.MOSTRADOS[visto.que]} {self._coluna(com)} "
        margem = len(f"{hora} {'':{COLUNA}} -> {'':{COLUNA}} ")
        cabem = max(shutil.get_terminal_size((10**6, 0)).columns - margem, 1) if e_terminal(sys.stdout) else 10**6
        cor = self._cor(visto.com or visto.quem)
        mostradas = [colorir(_cortada(linha, cabem), cor, self._cores) for linha in linhas]
        if nota:
            mostradas.append(f"({nota})")
        return comeco + f"\n{' ' * margem}".join(mostradas)

    def linhas(self, dados: bytes) -> tuple[list[str], str]:
        """Cada linha como se mostra, com a meia que sobrar; e o que há a notar nos cortes."""
        partes = _LINHAS.findall(dados)
        nota = f"{len(partes)} linhas de uma vez" if len(partes) > 1 else ""
        if dados and not dados.endswith(b"\n"):
            nota = f"{len(partes)} linhas; a última, meia" if nota else "meia linha"
        escrever = _em_bytes if self.em_bytes else _legivel
        return [escrever(parte) for parte in partes], nota

    def _coluna(self, thread: str) -> str:
        """O nome de uma thread na sua coluna e na sua cor."""
        nome = nome_curto(thread)
        nome = nome if len(nome) <= COLUNA else _em_uma_palavra(nome)
        return colorir(f"{nome:{COLUNA}}", self._cor(thread), self._cores)

    @staticmethod
    def _cor(thread: str) -> str | None:
        """A cor de uma conexão, pelo seu número: é a mesma antes e depois de se saber o nome de quem fala."""
        conexao = re.match(r"conexao-(\d+)", thread)
        return PALETA[int(conexao[1]) % len(PALETA)] if conexao else None


class Gravacao(Rastro):
    """Grava tudo num arquivo, um objeto de JSON por linha, e ninguém espera pelo disco.

    Cada acontecimento tem um número. O que não cabe na espera, porque o disco parou, é descartado: faltam números.
    """

    MAXIMO_NA_ESPERA = 50_000
    """Acontecimentos: um minuto de uma turma grande."""

    def __init__(self, caminho: str, em_bytes: bool = False) -> None:
        super().__init__(em_bytes)
        self._caminho = caminho
        self._numeros = itertools.count(1)
        self._espera: queue.Queue[tuple[int, Acontecimento] | None] = queue.Queue(self.MAXIMO_NA_ESPERA)
        self._thread = threading.Thread(target=self._gravar, name="rastro", daemon=True)

    def iniciar(self) -> None:
        """Recomeça o arquivo e põe a thread para rodar; `OSError` se não dá."""
        self._arquivo = open(self._caminho, "w", encoding="utf-8", opener=maquina.so_para_o_dono)
        self._thread.start()

    def contar(self, acontecimento: Acontecimento) -> None:
        """Só mexe em memória."""
        try:
            self._espera.put_nowait((next(self._numeros), acontecimento))
        except queue.Full:
            pass  # o número que falta o dirá

    def encerrar(self, paciencia: float = 1.0) -> None:
        """Grava o que falta; desiste se o disco leva mais de `paciencia` segundos."""
        try:
            self._espera.put(None, timeout=paciencia)
        except queue.Full:
            return
        self._thread.join(paciencia)

    def _gravar(self) -> None:
        """A thread. Sem onde gravar, diz isso uma vez, e continua esvaziando a espera."""
        contado = self._espera.get()
        try:
            with self._arquivo:
                while contado is not None:
                    self._arquivo.write(self._em_json(*contado) + "\n")
                    if self._espera.empty():
                        self._arquivo.flush()
                    contado = self._espera.get()
        except OSError as erro:  # ao gravar ou, com tudo ainda na memória, só ao fechar
            logging.getLogger("fila").error("O rastro em %s parou: %s.", self._caminho, motivo(erro))
        while contado is not None:
            contado = self._espera.get()

    def _em_json(self, numero: int, visto: Acontecimento) -> str:
        linhas, nota = self.linhas(visto.dados)
        objeto = {
            "n": numero,
            "quando": round(visto.quando, 6),  # segundos desde 1970
            "quem": visto.quem,
            "que": visto.que.value,
            "com": visto.com,
            "linhas": linhas,
            "bytes": len(visto.dados),
            "caixa": visto.caixa,
            "nota": visto.nota or nota,
            "segundos": round(visto.segundos, 6),
            "por": visto.por,
        }
        objeto = {nome: valor for nome, valor in objeto.items() if valor}
        if visto.filas is not None:
            objeto |= dataclasses.asdict(visto.filas)
        return json.dumps(objeto, ensure_ascii=False)


class _AoMostrar:
    """Um texto que só é escrito quando alguém o lê."""

    def __init__(self, escrever: Callable[[Acontecimento], str], acontecimento: Acontecimento) -> None:
        self._escrever, self._acontecimento = escrever, acontecimento

    def __str__(self) -> str:
        return self._escrever(self._acontecimento)


# --- De onde se conta -----------------------------------------------------------------------------


class SocketRastreado:
    """Um socket que conta o que recebe e o que envia, menos as senhas; no mais, é o que tem dentro."""

    def __init__(self, sock: socket.socket, rastro: Rastro, ha_senha: bool = False) -> None:
        self._sock = sock
        self._rastro = rastro
        self._sigilo = Sigilo(ha_senha)
        self._dona: threading.Thread | None = None  # a única que o lê, e por isso a primeira a lê-lo

    def __getattr__(self, nome: str) -> object:
        return getattr(self._sock, nome)

    def recv(self, maximo: int, *opcoes: int) -> bytes:
        dados = self._sock.recv(maximo, *opcoes)
        self._dona = self._dona or threading.current_thread()
        nota = "" if dados else "o outro fechou"
        self.contar(Que.RECEBEU, dados=self._sigilo.ocultar(dados), nota=nota)
        return dados

    def send(self, dados: bytes, *opcoes: int) -> int:
        quantos = self._sock.send(dados, *opcoes)
        self.contar(Que.ENVIOU, dados=dados[:quantos], caixa=len(dados) - quantos)
        return quantos

    def shutdown(self, como: int) -> None:
        self._sock.shutdown(como)
        self.contar(Que.FIM, nota="fim do fluxo")

    def contar(self, que: Que, **mais: object) -> None:
        """Algo que esta thread fez com este socket, ou com a caixa que o precede."""
        de_quem = "" if self._dona is threading.current_thread() and que is Que.RECEBEU else self.dona()
        self._rastro.contar(Acontecimento(que, de_quem, **mais))

    def dona(self) -> str:
        """O nome da thread que o lê."""
        return self._dona.name if self._dona else "recém-chegado"


class Vem(enum.Enum):
    """O que está para chegar por uma conexão, até passar pela senha."""

    TIPO = enum.auto()
    SENHA = enum.auto()
    JSON = enum.auto()  # em qualquer linha pode vir uma
    NADA = enum.auto()  # nada que se esconda


class Sigilo:
    """Esconde as senhas do que chega por uma conexão. `ha_senha` diz se o servidor as pergunta aos atendentes."""

    def __init__(self, ha_senha: bool) -> None:
        self._ha_senha = ha_senha
        self._vem = Vem.TIPO
        self._linha = b""  # o que já chegou da que ainda não acabou: um corte pode cair no meio da senha

    def ocultar(self, dados: bytes) -> bytes:
        """O que chegou, com `••••` no lugar de cada pedaço de uma senha."""
        return dados if self._vem is Vem.NADA else b"".join(map(self._pedaco, _LINHAS.findall(dados)))

    def _pedaco(self, pedaco: bytes) -> bytes:
        """Um pedaço de uma linha, ou ela inteira."""
        comeco, linha = len(self._linha), self._linha + pedaco
        acabou = pedaco.endswith(b"\n")
        if self._vem is Vem.TIPO and isinstance(formato_de(linha), Json):
            self._vem = Vem.JSON
        if self._vem is Vem.SENHA:
            pedaco = _OCULTA + b"\n" * acabou
        elif self._vem is Vem.JSON:
            pedaco = self._sem_o_campo(linha, comeco)
        if acabou:
            self._vem = self._depois_de(linha)
        self._linha = b"" if acabou else linha[-MAXIMO_DA_LINHA:]
        return pedaco

    def _depois_de(self, linha: bytes) -> Vem:
        if self._vem is not Vem.TIPO:
            return Vem.JSON if self._vem is Vem.JSON else Vem.NADA
        dito = limpar(linha.decode("utf-8", "replace")).removeprefix("\ufeff").strip()
        if not dito:
            return Vem.TIPO
        try:
            atende = Texto().ler_entrada(dito).tipo is Tipo.ATENDENTE
        except ValueError:
            atende = False
        return Vem.SENHA if atende and self._ha_senha else Vem.NADA

    @staticmethod
    def _sem_o_campo(linha: bytes, comeco: int) -> bytes:
        """O que vai de `comeco` ao fim da linha de JSON, sem o valor do campo `senha`."""
        visto = b""
        for achado in _CAMPO_SENHA.finditer(linha):
            de, ate = max(achado.start(1), comeco), achado.end(1)
            if de < ate:
                visto, comeco = visto + linha[comeco:de] + _OCULTA, ate
        return visto + linha[comeco:]


class ConexaoRastreada(Conexao):
    """Uma conexão que conta o que se põe na caixa e o que sobra nela, e quem tem a vez."""

    def __init__(self, sock: SocketRastreado, ao_sobrar: Callable[[Conexao], None], rastro: Rastro) -> None:
        super().__init__(sock, ao_sobrar)
        self.vez = TravaRastreada(rastro, sock.dona)
        self._sobrava = 0  # bytes, da última vez que se contou

    def por_na_caixa(self, comandos: Sequence[Comando | None]) -> None:
        antes = len(self.caixa)
        super().por_na_caixa(comandos)
        if novas := self.caixa[antes:]:
            self.sock.contar(Que.GUARDOU, dados=novas, caixa=len(self.caixa))

    def escoar(self) -> None:
        super().escoar()
        sobra, self._sobrava = self._sobrava, len(self.caixa)
        if self.caixa and len(self.caixa) != sobra:  # o carteiro tenta muitas vezes por segundo
            self.sock.contar(Que.SOBROU, nota=f"ficam {len(self.caixa)} bytes na caixa", caixa=len(self.caixa))


class TravaRastreada:
    """Uma trava que conta quem a toma, quem a solta e quem teve de esperar por ela. O que muda aqui, ela mesma guarda.

    `de_quem` diz de quem é a vez; da trava das filas, nada.
    """

    def __init__(self, rastro: Rastro, de_quem: Callable[[], str] = str) -> None:
        self._rastro = rastro
        self._de_quem = de_quem
        self._trava = threading.Lock()
        self._dona = ""  # o nome da thread que a tem
        self._espera: tuple[float, str] | None = None  # da thread que a tem: segundos, e por quem

    def acquire(self) -> None:
        espera = None
        if not self._trava.acquire(blocking=False):
            comeco, quem_a_tinha = time.perf_counter(), self._dona
            self._contar(Que.QUER)
            self._trava.acquire()
            espera = time.perf_counter() - comeco, quem_a_tinha
        self._dona, self._espera = threading.current_thread().name, espera
        self._contar(Que.TOMOU)

    def release(self) -> None:
        espera, self._espera = self._espera, None
        self._contar(Que.SOLTOU)
        self._trava.release()
        if espera:  # só depois de a soltar: contar com ela na mão faria os outros esperarem mais
            self._contar(Que.ESPEROU, segundos=espera[0], por=espera[1])

    def locked(self) -> bool:
        return self._trava.locked()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _contar(self, que: Que, **mais: object) -> None:
        self._rastro.contar(Acontecimento(que, self._de_quem(), **mais))


class TravaDasFilas(TravaRastreada):
    """A trava das filas, vista por uma lente. Antes de a soltar, conta como elas ficaram, se mudaram."""

    LENTE = 0.005
    """Segundos a mais que se fica com ela na mão. De verdade são microssegundos, e numa turma inteira não se veria
    ninguém esperar por ela."""

    filas: Filas  # de quem cria as duas, que precisam uma da outra

    _ultimo: Retrato | None = None

    def acquire(self) -> None:
        super().acquire()
        time.sleep(self.LENTE)

    def release(self) -> None:
        retrato = Retrato.de(self.filas)
        if retrato != self._ultimo:
            self._ultimo = retrato
            self._contar(Que.FILAS, filas=retrato)
        super().release()


# --- Como se escreve ------------------------------------------------------------------------------


def nome_curto(thread: str) -> str:
    """`Yuri`, da thread "conexao-2 Yuri"; antes de dizer o nome, ele é `nº 2`."""
    achado = re.fullmatch(r"conexao-(\d+) ?(.*)", thread)
    if achado:
        return achado[2] or f"nº {achado[1]}"
    return {"MainThread": "principal"}.get(thread, thread)


def _em_uma_palavra(thread: str) -> str:
    """O primeiro nome, cortado se não cabe na coluna."""
    palavra = nome_curto(thread)
    palavra = palavra if palavra.startswith("nº ") else palavra.partition(" ")[0]
    return palavra if len(palavra) <= COLUNA else palavra[: COLUNA - 1] + "…"


def _legivel(linha: bytes) -> str:
    """O texto entre aspas, com os controles escapados; o que não é UTF-8 inteiro, como meio acento, em bytes."""
    try:
        return repr(linha.decode())
    except UnicodeDecodeError:
        return repr(linha)


def _em_bytes(linha: bytes) -> str:
    """Os bytes como o Python os escreve; no lugar de uma senha, o que se vê é `••••`."""
    return repr(linha).replace(repr(_OCULTA)[2:-1], SENHA_OCULTA)


def _espera(visto: Acontecimento) -> str:
    return f"esperou {visto.segundos * 1000:.1f} ms por ".replace(".", ",") + _em_uma_palavra(visto.por)


def _cortada(escrita: str, cabem: int) -> str:
    """O que cabe em `cabem` colunas do terminal, uma pelo menos."""
    if largura_total(escrita) <= cabem:
        return escrita
    escrita = escrita[:cabem]  # de uma vez: um a um, de uma linha comprida levaria segundos
    while largura_total(escrita) >= cabem:
        escrita = escrita[:-1]
    return escrita + "…"
