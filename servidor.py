"""O servidor da fila de atendimento: as conexões, as threads e o caminho de cada linha.

As threads:

    principal    espera o sinal de encerrar
    porteiro     aceita as conexões (`serve_forever`)
    conexao-N    uma por conexão: a única que lê o seu socket; executa o fato que cada linha conta
    carteiro     entrega o que não pôde ser entregue na hora, publica posições, fecha conexões
    log          escreve na saída padrão, para que ninguém mais precise esperar por ela
    registro     com `--registro`, grava as conversas

Aqui é só rede. Quem espera, quem conversa com quem e a trava que guarda isso estão em `filas.py`: a
thread de uma conexão lê uma linha, conta às filas o fato que ela diz e envia o que elas deixaram nas
caixas de saída.
"""

import argparse
import contextlib
import errno
import hmac
import itertools
import logging
import logging.handlers
import os
import queue
import random
import select
import signal
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from filas import LONGA_DEMAIS, LOTADO, SEM_DEPARTAMENTO, Acontecimento, Efeito, Filas, Participante
from protocolo import (
    PORTA_PADRAO,
    Aviso,
    Comando,
    Consulta,
    Fim,
    LinhaLonga,
    Mensagem,
    Pausa,
    Pergunta,
    SeparadorDeLinhas,
    Tipo,
    Transferencia,
    Volta,
    escolher_departamentos,
    formato_de,
    limpar,
    validar_departamentos,
    validar_nome,
)
from rastro import Rastro, SocketRastreado, TravaRastreada
from registro import Registro, motivo
from terminal import Analisador, colorir, inteiro, segundos, usar_cores, valido

log = logging.getLogger("fila")

ACORDAR_A_CADA = 10.0
"""Segundos que um `recv` parado dura antes de conferir se a conexão já foi encerrada por outro."""

INSISTIR_A_CADA = 0.05
"""Segundos entre duas tentativas do carteiro com os atrasados."""

POSICOES_A_CADA = 0.25
"""Segundos, no mínimo, entre duas publicações de posições: cada par formado muda a de todos."""

DRENAR_POR = 2.0
"""Segundos que o outro tem para ler a despedida e fechar. Fechar com bytes dele por ler manda um
RST, e o RST apaga o `FIM:` que ele ainda não leu."""

BUFFER_DE_ENVIO = 128 * 1024
"""Bytes que o kernel guarda para quem lê devagar. Sem limite ele chega a megabytes, e só acorda quem
envia quando um terço esvaziou: um leitor lento, mas vivo, pareceria parado além do prazo de envio."""

MULTIDAO = 8
"""Threads a partir das quais o servidor roda num núcleo só: o bastante para mais de um par."""

INSISTIR_PELA_GIL_A_CADA = 0.1
"""Segundos que uma thread espera pela GIL antes de pedir que a soltem. Com o padrão, 5 ms, centenas de threads à
espera gastam o núcleo inteiro em acordar e pedir. Quem a tem solta-a muito antes, no primeiro `recv` ou `send`."""

ENCERRAR_EM = 3.0
"""Segundos para que todos leiam `FIM:Servidor encerrado.` e fechem, ao encerrar."""

PACIENCIA_COM_O_DISCO = 2.0
"""Segundos sem gravar nada, ao encerrar, em que se desiste do que falta do registro."""

# --- O que muda de um sistema para outro ----------------------------------------------------------

if os.name == "nt":
    # Um prazo do kernel (em milissegundos) que vence aparece como WSAETIMEDOUT.
    PRAZO_VENCIDO = (TimeoutError, BlockingIOError)

    def prazo_do_kernel(prazo: float) -> bytes:
        return struct.pack("I", max(1, int(prazo * 1000)))

    def enviar_ja(sock: socket.socket, dados: bytes) -> int:
        if not select.select([], [sock], [], 0)[1]:
            raise BlockingIOError
        return sock.send(dados)

    def receber_ja(sock: socket.socket) -> bytes:
        if not select.select([sock], [], [], 0)[0]:
            raise BlockingIOError
        return sock.recv(65536)

else:
    # Um prazo do kernel (struct timeval) que vence aparece como EAGAIN.
    PRAZO_VENCIDO = (BlockingIOError,)

    def prazo_do_kernel(prazo: float) -> bytes:
        prazo = max(prazo, 0.001)  # zero quer dizer "sem prazo"
        return struct.pack("ll", int(prazo), int(prazo % 1 * 1_000_000))

    def enviar_ja(sock: socket.socket, dados: bytes) -> int:
        return sock.send(dados, socket.MSG_DONTWAIT)

    def receber_ja(sock: socket.socket) -> bytes:
        return sock.recv(65536, socket.MSG_DONTWAIT)


def permitir_descritores(quantos: int) -> None:
    """Pede ao sistema que deixe abrir `quantos` sockets, até onde ele permite."""
    try:
        import resource
    except ImportError:  # o Windows não tem este limite
        return
    atual, maximo = resource.getrlimit(resource.RLIMIT_NOFILE)
    if atual != resource.RLIM_INFINITY and atual < quantos:
        alvo = quantos if maximo == resource.RLIM_INFINITY else min(quantos, maximo)
        resource.setrlimit(resource.RLIMIT_NOFILE, (alvo, maximo))


def nucleos_do_processo() -> list[int]:
    """Os núcleos em que o processo pode rodar; vazia se não se pode, ou não adianta, escolher."""
    if not hasattr(os, "sched_setaffinity") or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return []
    return sorted(os.sched_getaffinity(0))


def usar_nucleos(nucleos: list[int]) -> None:
    """Restringe aos `nucleos` todas as threads do processo, e com elas as que vierem.

    `SCHED_BATCH`: uma thread que acorda não toma o núcleo da que tem a GIL, para então parar à
    espera dela.
    """
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # a thread acabou, ou o sistema não deixa
            os.sched_setaffinity(int(thread), nucleos)
            os.sched_setscheduler(int(thread), os.SCHED_BATCH, os.sched_param(0))


# Quem some sem fechar (o cabo saiu, a tampa fechou) é descoberto em cerca de um minuto: 30 s de
# silêncio e três perguntas com 10 s entre elas. O último item vale quando há linhas que o outro não
# confirma, caso em que o Linux não pergunta: só retransmite, por um quarto de hora.
_KEEPALIVE = {
    "TCP_KEEPIDLE": 30,  # segundos; no macOS, TCP_KEEPALIVE
    "TCP_KEEPALIVE": 30,
    "TCP_KEEPINTVL": 10,  # segundos
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 60_000,  # milissegundos
}


class Conexao(Participante):
    """O participante que está do outro lado de um socket.

    Só a thread da conexão lê o socket, e só o carteiro o fecha. Qualquer thread pode enviar, desde
    que tenha o `direito`: duas ao mesmo tempo misturariam os bytes das suas linhas.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.sock = sock
        # O direito de envio guarda `na_mao` e a vez de escrever no socket.
        self.direito = threading.Lock()
        self.na_mao = b""  # recolhido da caixa e ainda não enviado
        self.despediu = False  # já foi tudo, inclusive o fim de fluxo
        self.cortada = False  # não dá mais para enviar: o outro sumiu ou parou de ler
        self.orfa = False  # a thread da conexão já acabou: falta o carteiro fechar
        self.fechada = False
        self.progresso = 0.0  # o instante em que o outro aceitou algo pela última vez, sem bloquear
        self._com_prazo = False
        # Bytes por recv. O recv parado já os tem alocados: pouco para quem só espera, e até meio KiB
        # da memória que as threads dividem, que está sempre quente. Cresce para quem manda muito.
        self._tamanho = 448

    def configurar(self, prazo_envio: float) -> None:
        """Ajusta o socket: sem Nagle, com keepalive, e com prazos que não custam nada por mensagem."""
        # Numa conexão já desfeita alguns sistemas recusam as opções; o recv seguinte descobre.
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_DE_ENVIO)
            for opcao, valor in _KEEPALIVE.items():
                if hasattr(socket, opcao):
                    self.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, opcao), valor)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, prazo_do_kernel(prazo_envio))

    def limitar_leitura(self, prazo: float | None) -> None:
        """Define por quantos segundos um `recv` pode ficar parado; `None`: por quanto for preciso."""
        self._com_prazo = prazo is not None
        with contextlib.suppress(OSError):
            opcao = prazo_do_kernel(ACORDAR_A_CADA if prazo is None else prazo)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, opcao)

    def receber(self) -> bytes:
        """Bloqueia até chegar algo. `b""`: o outro fechou, ou alguém encerrou esta conexão.

        Levanta `TimeoutError` se o prazo de `limitar_leitura` vence antes.
        """
        while not (self.retirado or self.cortada):
            try:
                dados = self.sock.recv(self._tamanho)
            except PRAZO_VENCIDO:
                if self._com_prazo:
                    raise TimeoutError from None
            except OSError:
                break
            else:
                if len(dados) == self._tamanho:
                    self._tamanho = min(self._tamanho * 4, 65536)
                return dados
        return b""

    def escoar(self, filas: Filas, bloqueando: bool) -> bool:
        """Envia o que está na mão e o que há na caixa. Exige o direito de envio.

        `False` se sobrou algo, o que só acontece sem bloquear: o outro não tem onde receber já.
        """
        dados, acabou = filas.recolher(self)
        if self.cortada:
            return True
        self.na_mao += dados
        try:
            while self.na_mao:
                self.na_mao = self.na_mao[self._enviar(bloqueando) :]
                self.progresso = time.monotonic()
            if acabou and not self.despediu:
                self.despediu, self.progresso = True, time.monotonic()
                self.sock.shutdown(socket.SHUT_WR)
        except PRAZO_VENCIDO:
            if not bloqueando:
                return False
            self.cortar()
        except OSError:
            self.cortar()
        return True

    def _enviar(self, bloqueando: bool) -> int:
        """Envia o que couber do que está na mão; diz quantos bytes couberam. Exige o direito de envio."""
        # Só espera quem já encheu o que havia de livre: assim o prazo do kernel mede o tempo parado
        # do outro, e não recomeça por causa dos bytes que couberam antes da espera.
        try:
            return enviar_ja(self.sock, self.na_mao)
        except BlockingIOError:
            if not bloqueando:
                raise
        return self.sock.send(self.na_mao)

    def cortar(self) -> None:
        """Desiste do outro. Acorda quem estiver parado no socket, que assim descobre."""
        self.cortada = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def drenada(self) -> bool:
        """Joga fora o que o outro ainda manda; diz se ele já fechou."""
        try:
            # Um pouco por vez: quem despeja sem parar não prende aqui o carteiro.
            return not all(receber_ja(self.sock) for _ in range(8))
        except BlockingIOError:
            return False
        except OSError:
            return True

    def fechar(self) -> None:
        self.fechada = True
        self.sock.close()


class Carteiro(threading.Thread):
    """Cuida do que ninguém pode ficar esperando.

    Insiste com quem não tinha onde receber na hora, e o corta no prazo; publica as posições da
    fila; despede-se das conexões que acabaram: termina de enviar, espera o outro fechar, fecha.
    Nunca bloqueia num socket.
    """

    def __init__(self, servidor: "Servidor") -> None:
        super().__init__(name="carteiro", daemon=True)
        self.servidor = servidor
        self.pedidos: queue.SimpleQueue[Conexao | None] = queue.SimpleQueue()
        self.atrasadas: dict[Conexao, float] = {}  # e o instante do último progresso de cada uma
        self.proxima_publicacao = 0.0
        self.parando = False

    def cuidar_de(self, conexao: Conexao) -> None:
        """Pede que o carteiro insista com `conexao`, ou se despeça dela, se já é órfã."""
        self.pedidos.put(conexao)

    def acordar(self) -> None:
        """Avisa que há posições a publicar."""
        self.pedidos.put(None)

    def parar(self) -> None:
        """Termina a thread, e espera que termine."""
        self.parando = True
        self.acordar()
        self.join()

    def run(self) -> None:
        ronda = 0.0
        while not self.parando:
            self._atender_pedidos(self._descanso())
            agora = time.monotonic()
            if self.servidor.filas.posicoes_mudaram and agora >= self.proxima_publicacao:
                self.proxima_publicacao = agora + POSICOES_A_CADA
                self.servidor.cumprir(self.servidor.filas.publicar_posicoes())
            if self.atrasadas and agora >= ronda:
                ronda = agora + INSISTIR_A_CADA
                for conexao in list(self.atrasadas):
                    self._visitar(conexao, agora)
        for conexao in list(self.atrasadas):
            conexao.cortar()
            self._visitar(conexao, time.monotonic())

    def _descanso(self) -> float | None:
        """Segundos até haver o que fazer sem que ninguém peça; `None`: nada."""
        if self.atrasadas:
            return INSISTIR_A_CADA
        if self.servidor.filas.posicoes_mudaram:
            return max(0.0, self.proxima_publicacao - time.monotonic())
        return None

    def _atender_pedidos(self, descanso: float | None) -> None:
        with contextlib.suppress(queue.Empty):
            pedido = self.pedidos.get(timeout=descanso)
            while True:
                if pedido is not None:
                    agora = time.monotonic()
                    self.atrasadas.setdefault(pedido, agora)
                    self._visitar(pedido, agora)
                pedido = self.pedidos.get_nowait()

    def _visitar(self, conexao: Conexao, agora: float) -> None:
        """Uma tentativa com uma atrasada; sai da lista a que não precisa de outra."""
        parada_ha = agora - max(self.atrasadas[conexao], conexao.progresso)
        if not conexao.direito.acquire(blocking=False):
            # Quem tem o direito entrega o que houver. Da órfã ainda falta despedir-se, com o direito.
            if not conexao.orfa:
                del self.atrasadas[conexao]
            return
        try:
            entregue = conexao.escoar(self.servidor.filas, bloqueando=False)
            if not entregue and parada_ha > self.servidor.prazo_envio:
                conexao.cortar()
            if not conexao.orfa:
                acabou = entregue or conexao.cortada
            elif acabou := conexao.cortada or entregue and (conexao.drenada() or parada_ha > DRENAR_POR):
                conexao.fechar()
        finally:
            conexao.direito.release()
        if acabou:
            del self.atrasadas[conexao]


FATOS: dict[type, Callable[[Filas, Participante, Comando], Efeito]] = {
    Fim: lambda filas, eu, _: filas.encerrar(eu),
    Consulta: lambda filas, eu, _: filas.consultar(eu),
    Pausa: lambda filas, eu, _: filas.pausar(eu),
    Volta: lambda filas, eu, _: filas.voltar(eu),
    Transferencia: lambda filas, eu, pedido: filas.transferir(eu, pedido.departamento),
    LinhaLonga: lambda filas, eu, _: filas.responder(eu, LONGA_DEMAIS),
    Aviso: lambda filas, eu, aviso: filas.responder(eu, aviso),
}
"""O fato que cada comando de um participante conta às filas. O outro é a mensagem, que só passa."""


class Atendimento(socketserver.BaseRequestHandler):
    """A vida de uma conexão, na thread dela: identifica-se, entra na fila, fala até sair."""

    request: Conexao
    server: "Servidor"

    def setup(self) -> None:
        threading.current_thread().name = f"conexao-{next(self.server.numeros)}"
        self.separador: SeparadorDeLinhas | None = None  # ainda não se leu nada
        self.linhas: list[str | None] = []  # chegaram e ainda não foram interpretadas
        self.request.configurar(self.server.prazo_envio)

    def handle(self) -> None:
        try:
            self.identificar()
        except EOFError:
            log.info("%s foi embora sem se identificar.", self.endereco, extra={"marca": "DISCONNECT"})
        except TimeoutError:
            self.recusar("Tempo de identificação esgotado.")
        except ValueError as erro:
            self.recusar(str(erro))
        else:
            self.conversar()

    def recusar(self, motivo: str) -> None:
        log.info("%s falhou na identificação: %s", self.endereco, motivo, extra={"marca": "DISCONNECT"})
        self.server.cumprir(self.server.filas.recusar(self.request, Fim(motivo)))

    @property
    def endereco(self) -> str:
        return "{}:{}".format(*self.client_address)

    def identificar(self) -> None:
        """TIPO, a senha se for o caso, NOME, o departamento se houver; depois, a fila.

        O que a primeira linha já traz não é perguntado. Levanta `ValueError` com o motivo da recusa,
        `TimeoutError` se uma das linhas demora mais que o prazo, `EOFError` se o outro se vai.
        """
        eu, servidor = self.request, self.server
        primeira = self.proxima_linha()  # só depois dela se sabe o formato
        entrada = eu.formato.ler_entrada(primeira)
        tipo, departamentos = entrada.tipo, (SEM_DEPARTAMENTO,)
        if entrada.departamento is not None:
            departamentos = self.escolher(tipo, entrada.departamento)
        if tipo is Tipo.ATENDENTE and servidor.senha is not None:
            senha = self.perguntar("senha") if entrada.senha is None else entrada.senha
            # Tempo constante: quanto demora a recusa não diz quantas letras estavam certas.
            if not hmac.compare_digest(senha.encode(), servidor.senha.encode()):
                raise ValueError("Senha incorreta.")
        nome = validar_nome(self.perguntar("nome") if entrada.nome is None else entrada.nome)
        if servidor.filas.departamentos and entrada.departamento is None:
            departamentos = self.escolher(tipo, self.perguntar("departamento", servidor.filas.departamentos))
        eu.limitar_leitura(None)
        threading.current_thread().name += f" {nome}"
        onde = f" para {', '.join(departamentos)}" if servidor.filas.departamentos else ""
        log.info("%s (%s) conectou de %s%s.", nome, tipo.value, self.endereco, onde, extra={"marca": "CONNECT"})
        servidor.cumprir(servidor.filas.entrar(eu, tipo, nome, departamentos), eu)

    def escolher(self, tipo: Tipo, texto: str) -> tuple[str, ...]:
        return escolher_departamentos(texto, self.server.filas.departamentos, varios=tipo is Tipo.ATENDENTE)

    def perguntar(self, campo: str, opcoes: Sequence[str] = ()) -> str:
        self.server.cumprir(self.server.filas.responder(self.request, Pergunta(campo, opcoes)), self.request)
        return self.request.formato.ler_resposta(campo, self.proxima_linha()).texto

    def proxima_linha(self) -> str | None:
        """Uma linha da identificação. O prazo é o da linha inteira: um byte por vez não o renova."""
        ate = time.monotonic() + self.server.prazo_identificacao
        while not self.linhas:
            resta = ate - time.monotonic()
            if resta <= 0:
                raise TimeoutError
            self.request.limitar_leitura(resta)
            dados = self.request.receber()
            if not dados:
                raise EOFError
            if self.separador is None:
                self.request.formato, self.separador = formato_de(dados), SeparadorDeLinhas()
            self.linhas = self.separador.alimentar(dados)
        return self.linhas.pop(0)

    def conversar(self) -> None:
        """Lê até o fim; cada bloco lido vira fatos, e cada fato é cumprido antes do seguinte."""
        eu, servidor, filas = self.request, self.server, self.server.filas
        linhas = self.linhas  # as que vieram no mesmo pedaço que o nome
        while True:
            for comando in eu.formato.ler_participante(linhas):
                if not isinstance(comando, Mensagem):
                    servidor.cumprir(FATOS[type(comando)](filas, eu, comando), eu)
                elif destino := filas.repassar_chat(eu, comando):
                    servidor.despachar(destino, bloqueando=True)
                    servidor.depois_de_ouvir()
            dados = eu.receber()
            if not dados:
                return
            linhas = self.separador.alimentar(dados)


class Servidor(socketserver.ThreadingTCPServer):
    """Aceita conexões e dá uma thread a cada uma; cumpre o que as filas mandam.

    `senha` é a dos atendentes, ou `None` se não há; os prazos são em segundos; `um_nucleo` deixa o
    servidor recolher as suas threads a um núcleo, onde isso as faz andar mais depressa; `departamentos`,
    `devolver` e `ouvinte` são os das `Filas`, e `depois_de_ouvir` é chamada sem a trava por quem
    acabou de contar um fato ao ouvinte; `rastro` conta o que passa pelos sockets e pela trava. `servir()`
    põe as threads para rodar e `encerrar()` despede-se de todos.
    """

    daemon_threads = True  # o padrão prende a saída do programa enquanto houver alguém conectado
    request_queue_size = 1024  # o padrão, 5, recusa quase toda uma turma que se conecta junta
    # No POSIX, reabre logo na mesma porta. No Windows a opção deixaria outro processo roubá-la.
    allow_reuse_address = os.name == "posix"

    def __init__(
        self,
        endereco: tuple[str, int],
        *,
        maximo: int = 1000,
        prazo_identificacao: float = 60.0,
        prazo_envio: float = 10.0,
        senha: str | None = None,
        um_nucleo: bool = False,
        departamentos: Sequence[str] = (),
        devolver: bool = False,
        ouvinte: Callable[[Acontecimento], None] | None = None,
        depois_de_ouvir: Callable[[], None] | None = None,
        rastro: Rastro | None = None,
    ) -> None:
        self.prazo_identificacao = prazo_identificacao
        self.prazo_envio = prazo_envio
        self.senha = senha
        self.depois_de_ouvir = depois_de_ouvir or (lambda: None)
        self.filas = Filas(maximo, departamentos=departamentos, devolver=devolver, ouvinte=ouvinte)
        self.rastro = rastro
        if rastro:
            self.filas.trava = TravaRastreada(rastro)
        self.carteiro = Carteiro(self)
        self.numeros = itertools.count(1)  # das threads de conexão
        self.nucleos = nucleos_do_processo() if um_nucleo else []
        self.num_nucleo_so = False
        self.porteiro = threading.Thread(target=self.serve_forever, args=(0.1,), name="porteiro", daemon=True)
        self.address_family = socket.AF_INET6 if ":" in endereco[0] else socket.AF_INET
        super().__init__(endereco, Atendimento)

    # O caminho de uma linha: o fato a pôs na caixa; daqui ela vai para o socket.

    def cumprir(self, efeito: Efeito, eu: Participante | None = None) -> None:
        """Registra e entrega o que um fato deixou por fazer. Fora da trava.

        `eu` é quem causou o fato, se é a thread dele que chama: só essa pode bloquear, e só ao
        falar consigo mesma.
        """
        for marca, texto in efeito.registros:
            log.info(texto, extra={"marca": marca})
        self.depois_de_ouvir()
        for destino in sorted(efeito.destinos, key=lambda destino: destino is eu):  # eu por último
            self.despachar(destino, bloqueando=destino is eu)
        if self.filas.posicoes_mudaram:
            self.carteiro.acordar()

    def despachar(self, conexao: Conexao, bloqueando: bool) -> None:
        """Envia o que há na caixa de `conexao`, se ninguém já o está fazendo.

        Só quem fala (com o par ou consigo mesmo) envia bloqueando: é a contrapressão do TCP, que
        assim chega a quem escreve. Quem conta um fato a terceiros não espera por eles.
        """
        while conexao.caixa:
            if not conexao.direito.acquire(blocking=False):
                # Quem tem o direito confere a caixa de novo depois de soltá-lo (é o `while` desta
                # mesma função): pode-se ir embora. A não ser que a caixa esteja cheia: quem fala
                # mais do que o outro lê espera a sua vez, e a caixa não cresce sem fim.
                if not (bloqueando and self.filas.caixa_cheia(conexao)):
                    return
                conexao.direito.acquire()
            try:
                entregue = conexao.escoar(self.filas, bloqueando)
            finally:
                conexao.direito.release()
            if not entregue:
                self.carteiro.cuidar_de(conexao)
                return

    # A vida de uma conexão, como o socketserver a conta.

    def server_bind(self) -> None:
        if os.name == "nt":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        super().server_bind()

    def get_request(self) -> tuple[Conexao, tuple]:
        try:
            sock, endereco = super().get_request()
        except OSError as erro:
            if erro.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                # O laço do socketserver tentaria de novo na hora, e giraria até alguém sair.
                time.sleep(0.1)
            raise
        return Conexao(SocketRastreado(sock, self.rastro) if self.rastro else sock), endereco

    def verify_request(self, conexao: Conexao, endereco: tuple) -> bool:
        self._ajustar_nucleos()
        admitida = self.filas.admitir(conexao)
        if not admitida:
            log.warning("Recusada a conexão de %s: não há lugar.", endereco[0])
        return admitida

    def _ajustar_nucleos(self) -> None:
        """Com mais de um par, todas as threads num núcleo só: o remédio para o comboio da GIL.

        Uma thread por vez executa Python. Espalhadas, elas não andam mais depressa: passam o tempo
        acordando umas às outras de um núcleo para o outro. Um par só não forma comboio.
        """
        multidao = threading.active_count() > MULTIDAO
        if self.nucleos and multidao != self.num_nucleo_so:
            self.num_nucleo_so = multidao
            # Ao acaso: dois servidores na mesma máquina não escolhem sempre o mesmo.
            usar_nucleos([random.choice(self.nucleos)] if multidao else self.nucleos)

    def process_request(self, conexao: Conexao, endereco: tuple) -> None:
        try:
            super().process_request(conexao, endereco)
        except RuntimeError:  # o sistema não deu mais uma thread
            self.cumprir(self.filas.recusar(conexao, LOTADO))
            self.shutdown_request(conexao)

    def shutdown_request(self, conexao: Conexao) -> None:
        """A despedida, uma só para todos os casos: recusa, fim de fluxo, erro, `FIM:`.

        O socketserver a chama no fim da thread da conexão, e também para quem não chegou a ter uma.
        """
        self.cumprir(self.filas.sair(conexao))
        conexao.orfa = True
        self.carteiro.cuidar_de(conexao)

    def handle_error(self, conexao: Conexao, endereco: tuple) -> None:
        """Um erro nosso numa conexão: fica no log, e as outras seguem."""
        log.error("Falha ao atender %s: %r", endereco, sys.exc_info()[1], extra={"marca": "ERRO"})

    # Começo e fim.

    def servir(self) -> None:
        """Começa a aceitar; não espera."""
        self.carteiro.start()
        self.porteiro.start()

    def encerrar(self, prazo: float = ENCERRAR_EM) -> None:
        """Deixa de aceitar, manda `FIM:` a todos e espera que leiam e fechem.

        Quem não o fez em `prazo` segundos é cortado.
        """
        limite = time.monotonic() + prazo
        self.shutdown()  # espera o laço do porteiro, que roda noutra thread: chamada dela, travaria
        self.server_close()
        efeito = self.filas.desligar()
        self.cumprir(efeito)
        self._esperar_que_fechem(efeito.destinos, limite)
        for conexao in [*efeito.destinos, *self.carteiro.atrasadas]:
            conexao.cortar()
        self._esperar_que_fechem(efeito.destinos, limite + 1)
        self.carteiro.parar()

    def _esperar_que_fechem(self, conexoes: Iterable[Conexao], limite: float) -> None:
        """Espera por `conexoes` e pelas que já estavam a cargo do carteiro."""
        while time.monotonic() < limite:
            if all(conexao.fechada for conexao in conexoes) and not self.carteiro.atrasadas:
                return
            time.sleep(0.02)


# =================================================================================================
# O programa.
# =================================================================================================

CORES = {"CONNECT": "verde", "MATCHMAKER": "ciano", "DISCONNECT": "amarelo", "RE-QUEUE": "azul", "PAUSA": "azul", "ERRO": "vermelho"}


class LogSemEspera(logging.handlers.QueueHandler):
    """Passa os registros à thread que escreve; com a saída parada, descarta em vez de esperar."""

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)


class Formatador(logging.Formatter):
    """`14:05:09 [CONNECT] Yuri (CLIENTE) conectou de 127.0.0.1:50312.`"""

    def __init__(self, cores: bool) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self.cores = cores

    def format(self, record: logging.LogRecord) -> str:
        if record.name == "fila.rastro":
            return record.getMessage()  # já traz a sua hora, e as suas colunas
        marca = getattr(record, "marca", "SERVIDOR")
        inicio = colorir(f"[{marca}]", CORES.get(marca), self.cores)
        return f"{self.formatTime(record, self.datefmt)} {inicio} {record.getMessage()}"


def iniciar_log() -> queue.Queue:
    """Liga o log à saída padrão e devolve a fila por onde ele passa."""
    logging.raiseExceptions = False  # disco cheio, cano quebrado: o log se perde, o servidor segue
    sys.stdout.reconfigure(errors="replace")
    fila: queue.Queue = queue.Queue(maxsize=10_000)
    saida = logging.StreamHandler(sys.stdout)
    saida.setFormatter(Formatador(usar_cores(sys.stdout)))
    logging.handlers.QueueListener(fila, saida).start()
    log.addHandler(LogSemEspera(fila))
    log.setLevel(logging.INFO)
    return fila


def anunciar(host: str, porta: int) -> None:
    """Diz onde o servidor aceita e o que digitar nos outros terminais."""
    opcao = "" if porta == PORTA_PADRAO else f" --porta {porta}"
    if host not in ("0.0.0.0", "::", "127.0.0.1", "localhost"):
        opcao = f" --host {host}{opcao}"
    log.info("Aceitando conexões em %s, porta %d. Ctrl+C encerra.", host, porta)
    log.info("Nesta máquina, em outros terminais: python cliente.py%s   python atendente.py%s", opcao, opcao)
    if host in ("0.0.0.0", "::") and (endereco := endereco_na_rede()):
        log.info("Em outra máquina da rede: python cliente.py --host %s%s", endereco, opcao)


def endereco_na_rede() -> str | None:
    """O endereço pelo qual as outras máquinas veem esta, ou `None` se não há rede."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # UDP: só escolhe a rota, nada é enviado
        except OSError:
            return None
        return sock.getsockname()[0]


def motivo_de_nao_abrir(erro: OSError, host: str, porta: int) -> str:
    """O erro do sistema, em português e com o que fazer."""
    match erro.errno:
        case errno.EADDRINUSE:
            return f"a porta {porta} já está em uso. Feche o outro servidor ou escolha outra com --porta."
        case errno.EACCES:
            return f"sem permissão para usar a porta {porta}. Escolha uma acima de 1023 com --porta."
    if isinstance(erro, socket.gaierror):
        return f"o nome {host} não foi encontrado. Confira o valor de --host."
    return f"o endereço {host} não é desta máquina. Confira o valor de --host."


def senha_valida(texto: str) -> str:
    """Um tipo de argumento: a senha como chegará pelo fio, já limpa."""
    senha = limpar(texto)
    try:
        senha.encode()
    except UnicodeEncodeError:
        senha = ""
    if not senha:
        raise argparse.ArgumentTypeError("a senha precisa ter ao menos um caractere que se possa digitar")
    return senha


def caminho_escrito(texto: str) -> str:
    """Um tipo de argumento: o caminho de um arquivo. Vazio é uma variável que ficou por definir."""
    if not texto:
        raise argparse.ArgumentTypeError("diga o nome do arquivo")
    return texto


def main() -> int:
    """O comando `python servidor.py`: serve até Ctrl+C ou SIGTERM."""
    analisador = Analisador("Servidor da fila de atendimento: une clientes e atendentes para conversar.")
    analisador.opcao("--host", "0.0.0.0", "endereço em que aceita conexões")
    analisador.opcao("--porta", PORTA_PADRAO, "porta TCP; 0 escolhe uma livre", tipo=inteiro(0, 65535))
    analisador.opcao("--max-conexoes", 1000, "conexões ao mesmo tempo", tipo=inteiro(1, 1_000_000))
    analisador.opcao("--prazo-identificacao", 60.0, "segundos para cada linha da identificação", tipo=segundos)
    analisador.opcao("--prazo-envio", 10.0, "segundos que quem não lê fica conectado", tipo=segundos)
    analisador.opcao(
        "--senha-atendentes",
        os.environ.get("FILA_SENHA") or None,
        "senha pedida aos atendentes (ou a variável FILA_SENHA)",
        tipo=senha_valida,
        mostrar_padrao=False,
    )
    ajuda = "nomes separados por vírgulas: cada um é uma fila"
    analisador.opcao("--departamentos", None, ajuda, tipo=valido(validar_departamentos))
    analisador.chave("--devolver-a-fila", "o cliente de um atendente que cai volta para o início da fila")
    analisador.opcao("--registro", None, "arquivo CSV em que se gravam as conversas", tipo=caminho_escrito)
    analisador.chave("--rastro", "mostra o que cada thread recebe e envia, com os bytes como são")
    analisador.chave("--varios-nucleos", "deixa as threads se espalharem pelos núcleos (ver docs/desempenho.md)")
    opcoes = analisador.parse_args()

    sys.setswitchinterval(INSISTIR_PELA_GIL_A_CADA)
    threading.stack_size(512 * 1024)  # o padrão reserva 8 MiB de endereços para cada conexão
    permitir_descritores(opcoes.max_conexoes + 64)
    try:
        registro = Registro(opcoes.registro) if opcoes.registro else None
    except OSError as erro:
        print(f"Não foi possível gravar em {opcoes.registro}: {motivo(erro)}.", file=sys.stderr)
        return 1
    try:
        servidor = Servidor(
            (opcoes.host, opcoes.porta),
            maximo=opcoes.max_conexoes,
            prazo_identificacao=opcoes.prazo_identificacao,
            prazo_envio=opcoes.prazo_envio,
            senha=opcoes.senha_atendentes,
            um_nucleo=not opcoes.varios_nucleos,
            departamentos=opcoes.departamentos or (),
            devolver=opcoes.devolver_a_fila,
            ouvinte=registro and registro.ouvir,
            depois_de_ouvir=registro and registro.preparar,
            rastro=Rastro() if opcoes.rastro else None,
        )
    except OSError as erro:
        print(f"Não foi possível iniciar: {motivo_de_nao_abrir(erro, opcoes.host, opcoes.porta)}", file=sys.stderr)
        return 1

    parar = threading.Event()
    for sinal in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sinal, lambda *_: parar.set())
    fila_de_log = iniciar_log()
    if registro:
        registro.iniciar()
    servidor.servir()
    anunciar(*servidor.server_address[:2])
    if opcoes.departamentos:
        log.info("Departamentos: %s.", ", ".join(opcoes.departamentos))
    if registro:
        log.info("As conversas são gravadas em %s.", opcoes.registro)
    # Com prazo: numa espera sem fim há sistemas em que o sinal não chega a ser tratado.
    while not parar.wait(0.5):
        if registro:
            registro.conferir()
    log.info("Encerrando.")
    servidor.encerrar()
    if registro:
        registro.encerrar(PACIENCIA_COM_O_DISCO)
    for frase in servidor.filas.turno.resumo():
        log.info(frase, extra={"marca": "TURNO"})
    # A saída padrão pode estar parada (um `| less`, um texto selecionado no console do Windows):
    # nem o resto do log nem o fim do interpretador, que a descarregaria, esperam por ela.
    escrevendo = threading.Thread(target=fila_de_log.join, daemon=True)
    escrevendo.start()
    escrevendo.join(timeout=1.0)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
