"""O carteiro: a thread que cuida do que ninguém pode ficar esperando."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from atendimento.conexao import CORTADA, DESPEDIDA, FECHADA, Conexao
from atendimento.filas import Filas

log = logging.getLogger("fila")


@dataclass(slots=True)
class _Cuidado:
    """O que o carteiro sabe de uma conexão de que cuida."""

    orfa: bool = False  # a thread dela acabou, ou nem chegou a haver uma: pode-se fechar
    confirmados: int = -1  # bytes que o outro tinha recebido na última visita
    desde: float = 0.0  # segundos, pelo relógio monotônico: quando esse número mudou


class Carteiro(threading.Thread):
    """Insiste com quem não tinha onde receber na hora, e o corta no prazo; publica as posições da fila; despede-se
    das conexões que acabaram: termina de enviar, espera o outro fechar, fecha. Nunca espera por um participante.

    `ao_fechar(conexao)` é chamada depois de cada `close`.
    """

    INSISTIR_A_CADA = 0.05
    """Segundos entre duas tentativas com quem não tinha onde receber."""

    POSICOES_A_CADA = 0.25
    """Segundos entre duas publicações de posições: cada par formado muda a de todos."""

    DESPEDIDA = 2.0
    """Segundos que o outro tem para fechar, depois de ter recebido tudo. Fechar com bytes dele que falta ler manda um
    RST, e o RST apaga em alguns sistemas o `FIM:` que ele ainda não leu."""

    def __init__(self, filas: Filas, prazo_envio: float, ao_fechar: Callable[[Conexao], None]) -> None:
        super().__init__(name="carteiro", daemon=True)
        self.filas = filas
        self.prazo_envio = prazo_envio  # segundos
        self.ao_fechar = ao_fechar
        self._pedidos: queue.SimpleQueue[tuple] = queue.SimpleQueue()  # (o que fazer, com quê...)
        # Só a thread do carteiro mexe no que vem abaixo.
        self._cuidados: dict[Conexao, _Cuidado] = {}  # da mais antiga à mais nova
        self._parando = False

    # Para as outras threads.

    def cuidar_de(self, conexao: Conexao) -> None:
        """Há uma sobra na caixa de `conexao`, ou ela se despede."""
        self._pedidos.put((self._visitar, conexao))

    def enterrar(self, conexao: Conexao) -> None:
        """A thread de `conexao` acabou: falta despedir-se e fechar."""
        self._pedidos.put((self._adotar, conexao))

    def apressar(self) -> None:
        """Faltam descritores: corta a órfã mais antiga ou, se não há uma, a que se despede há mais tempo."""
        self._pedidos.put((self._cortar_a_mais_antiga,))

    def parar(self) -> None:
        """Termina a thread, e espera que termine."""
        self._pedidos.put((self._parar,))
        self.join()

    # A thread.

    def run(self) -> None:
        ronda = publicacao = 0.0
        while not self._parando:
            self._cumprir(*self._proximo_pedido())
            agora = time.monotonic()
            if agora >= publicacao:
                publicacao = agora + self.POSICOES_A_CADA
                self._cumprir(self._publicar)
            if agora >= ronda:
                ronda = agora + self.INSISTIR_A_CADA
                for conexao in list(self._cuidados):
                    self._cumprir(self._visitar, conexao)

    def _proximo_pedido(self) -> tuple:
        """Espera por um pedido, mas não além da próxima ronda."""
        try:
            return self._pedidos.get(timeout=self.INSISTIR_A_CADA if self._cuidados else self.POSICOES_A_CADA)
        except queue.Empty:
            return (lambda: None,)

    @staticmethod
    def _cumprir(tarefa: Callable[..., None], *com: object) -> None:
        """Um erro numa tarefa não para as outras: sem o carteiro, ninguém mais se despediria."""
        try:
            tarefa(*com)
        except Exception as erro:
            log.error("Falha do carteiro: %r", erro, extra={"marca": "ERRO"})

    def _parar(self) -> None:
        self._parando = True

    def _publicar(self) -> None:
        """Publica as posições, se mudaram. Só fica com os clientes que não tinham onde as receber."""
        if self.filas.posicoes_mudaram:
            for cliente in self.filas.publicar_posicoes():
                self._cumprir(self._visitar, cliente)

    def _adotar(self, conexao: Conexao) -> None:
        self._cuidados.setdefault(conexao, _Cuidado()).orfa = True
        self._visitar(conexao)

    def _cortar_a_mais_antiga(self) -> None:
        orfas = [conexao for conexao, cuidado in self._cuidados.items() if cuidado.orfa]
        despedidas = [conexao for conexao in self._cuidados if conexao.situacao is DESPEDIDA]
        for conexao in (orfas or despedidas)[:1]:
            with conexao.vez:
                conexao.cortar()
            self._visitar(conexao)

    def _visitar(self, conexao: Conexao) -> None:
        """Uma tentativa: envia o que couber, corta quem passou do prazo, fecha a órfã que já se despediu."""
        cuidado = self._cuidados.setdefault(conexao, _Cuidado())
        with conexao.vez:
            if conexao.caixa:
                conexao.escoar()
            if conexao.caixa or cuidado.orfa or conexao.situacao is DESPEDIDA:
                self._conferir_o_prazo(conexao, cuidado)
            cortada = conexao.situacao is CORTADA
            if cuidado.orfa and (cortada or not conexao.caixa and conexao.descartar()):
                conexao.fechar()
            fechada = conexao.situacao is FECHADA
            falta = conexao.caixa or conexao.situacao is DESPEDIDA or cuidado.orfa and not fechada
        if not falta:
            del self._cuidados[conexao]
        if fechada:
            self.ao_fechar(conexao)

    def _conferir_o_prazo(self, conexao: Conexao, cuidado: _Cuidado) -> None:
        """Corta quem deixou passar o prazo sem receber mais nada ou, tendo recebido tudo, sem fechar. Exige a vez."""
        agora, confirmados = time.monotonic(), conexao.confirmados()
        if confirmados != cuidado.confirmados:
            cuidado.confirmados, cuidado.desde = confirmados, agora
        recebeu_tudo = confirmados == conexao.enviados and not conexao.caixa
        if agora - cuidado.desde > (self.DESPEDIDA if recebeu_tudo else self.prazo_envio):
            conexao.cortar()
